// Package staging tests the deployment of infra/k8s on a real cluster: what an
// operator does to it and what breaks under it, with steady load all the while.
//
// It promises that every event that was acknowledged is in the meter exactly
// once, whatever the row did, and that requests were refused only where the row
// allows it. Its tests have the build tag `cluster` and run by `make e2e`,
// against the cluster of KUBECONFIG; rows that cut off or crash a node need
// TEST_CLUSTER besides, the folder of a tool that can do so.
package staging
