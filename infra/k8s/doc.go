// Package k8s is the deployment on Kubernetes: manifests as Kustomize bases, what
// differs from place to place as overlays, and the script that deploys staging. It
// holds no code of the program.
//
// Its tests build every overlay in the process and promise, without a cluster, that
// each object is one that Kubernetes knows, that each pod runs with the least it
// needs, that nobody may talk to whom they need not, and that everything fits into
// the quota at its most. What only a cluster can tell is in e2e/staging.
package k8s
