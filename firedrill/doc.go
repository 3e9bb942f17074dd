// Package firedrill makes alerts fire by their real causes: it runs the real program
// with real NATS and Redis servers, a real Prometheus with alerts/rules.yaml and a real
// Alertmanager with the configuration that is deployed, does harm, and sees that a
// message with the way to the runbook reaches Slack and PagerDuty, played by a
// receiver in the test. Then it heals, and sees that the messages of the end come.
//
// Every alert of the rules is in a scene or in the list of those that can't be, with
// the reason.
//
// The rules are those that are deployed, with shorter times; pace says how. It needs
// Debian's packages prometheus, prometheus-alertmanager and redis-server, and fails
// without them.
package firedrill
