package world

import (
	"context"
	"fmt"
	"strings"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/cluster/operate"
)

func deployments(from *living.Sources) *tree.Node {
	return &tree.Node{
		Name: "deployments", Line: "the workloads of the deployment, by name", Operator: true,
		Doc: `The Deployments and StatefulSets of the namespace by their names: kgents-api receives and admits events, kgents-sink delivers them to the meter, nats and redis keep them and their identities. ` +
			`Each shows its replicas, its pods and what scales it; a Deployment can be scaled from here, a StatefulSet can't, because its pods keep data; both can be restarted. ` +
			`The list is that of world.kubernetes, read from the API server as it is now.`,
		Synonyms: []string{"workloads", "services", "statefulsets", "replica sets", "apps", "components", "rollouts", "kubectl get deployments"},
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "all workloads: ready of wanted, restarts, images",
			Asks: []string{
				"list deployments", "list the workloads", "which statefulsets are there", "what can i scale", "replicas of each deployment", "kubectl get deployments", "which services are deployed", "names of the deployments",
			},
			Examples: []tree.Example{{Expr: "world.kubernetes.deployments.manifest", Line: "all workloads"}},
			See:      func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeKubernetes(ctx, from) },
		}},
		Live: &tree.Live{
			Node: oneWorkload(from),
			List: func(ctx context.Context, c *tree.Call) ([]tree.Entry, error) {
				_, o, err := look(ctx, from)
				if err != nil {
					return nil, err
				}
				var out []tree.Entry
				for _, w := range workloads(o) {
					out = append(out, tree.Entry{Name: w.name, Line: fmt.Sprintf("%s, %d of %d ready", w.kind, w.ready, w.wanted)})
				}
				return out, nil
			},
		},
	}
}

func oneWorkload(from *living.Sources) *tree.Node {
	return &tree.Node{
		Name: "workload", Line: "one workload: its replicas, its pods, what scales it", Operator: true,
		Doc: `One Deployment or StatefulSet: how many replicas are ready and of the newest revision of those that are wanted, its pods with why one is not ready, its images, and the autoscaler that manages it, if one does. ` +
			`refine scales a Deployment; it holds when all replicas are ready, and is undone by the number before. A StatefulSet is not scaled: NATS' servers vote on streams and keep their parts of them, Redis keeps identities, the meter its database. ` +
			`An autoscaler changes the number again when it sees fit: change its bounds in the overlay to make it last. ` +
			`[do=restart] replaces its pods as kubectl rollout restart does, a StatefulSet's as well, by its own strategy, which the preview tells with the disruption budget; [wait] waits until all are new and ready. Scaling needs the right to patch deployments/scale, a restart to patch deployments or statefulsets. ` +
			`witness has the logs of its pods together, by time. ` + logDoc,
		Synonyms: []string{"deployment", "statefulset", "replicas", "scale", "scaling", "scale up", "scale down", "more instances", "rollout", "service", "component", "capacity", "restart", "rollout restart", "bounce", "logs", "log lines", "kubectl logs"},
		Affords: []tree.Affordance{
			{
				Aspect: agentese.Manifest, Line: "its replicas, pods, images and autoscaler",
				Asks: []string{
					"how many replicas of the api run", "is the sink ready", "state of the api deployment", "why is kgents-api not ready", "which image does the sink run", "is the rollout done", "pods of the deployment",
					"does an autoscaler manage it", "how often did the api restart", "is nats up in the cluster",
				},
				Examples: []tree.Example{{Expr: "world.kubernetes.deployments.kgents-api.manifest", Line: "the API's Deployment"}},
				See:      func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeWorkload(ctx, from, c) },
			},
			{
				Aspect: agentese.Witness, Line: "the newest lines of the logs of its pods",
				Asks: []string{
					"logs of the sink since 2am", "show the log of the api", "kubectl logs deployment/kgents-api", "tail the logs of the sink", "what did the api log", "errors in the log of the sink", "read the logs of nats",
					"grep the api log for timeout", "log lines with acme in it", "last 200 lines of kgents-sink", "redis log since yesterday", "did the sink log a panic", "what does the log say", "stack trace in the log of the api",
					"program output of the sink", "warnings in the nats log", "logs from last night",
				},
				Params: logParams(),
				Examples: []tree.Example{
					{Expr: "world.kubernetes.deployments.kgents-sink.witness[since=6h][word=error]", Line: "the sinks' lines with the word error in six hours"},
					{Expr: "world.kubernetes.deployments.kgents-api.witness[where=level=WARN]", Line: "warnings among the API's newest lines"},
				},
				See: func(ctx context.Context, c *tree.Call) (tree.Value, error) { return seeWorkloadLogs(ctx, from, c) },
			},
			{
				Aspect: agentese.Refine, Needs: tree.Architect, Line: "scale it, or restart its pods one after the other",
				Asks: []string{
					"scale the api to 5", "add more replicas", "scale up the sink", "scale down", "we need more capacity", "run more instances", "more api pods", "set replicas to three",
					"stop the sink", "scale to zero", "the api is overloaded, add pods", "double the workers",
					"restart the api pods", "restart the sink", "rolling restart of the api", "bounce the api", "kubectl rollout restart", "turn the api off and on again", "restart nats", "restart redis",
					"replace all pods of the sink", "recycle the pods", "give the api fresh pods", "kick the sink, it hangs", "reboot the workers", "restart kgents-api without downtime", "cycle the deployment",
				},
				Params: []tree.Param{
					{Key: "do", Line: "what is to be done", Values: []string{"scale", "restart"}, Default: "scale"},
					{Key: "replicas", Line: "how many there are to be, for scale", Kind: tree.Number, Max: maxReplicas},
					{Key: "wait", Line: "how long its effect is waited for without [rollback]; some seconds if it is left out", Kind: tree.Duration, Longest: longestWait},
				},
				Examples: []tree.Example{
					{Expr: "world.kubernetes.deployments.kgents-sink.refine[replicas=3][rollback=2m]", Line: "three sinks, and back if they aren't ready in two minutes"},
					{Expr: "world.kubernetes.deployments.kgents-api.refine[replicas=5][dry_run]", Line: "what scaling would do"},
					{Expr: "world.kubernetes.deployments.kgents-api.refine[do=restart][wait=5m]", Line: "new pods for the API, one after the other, and wait until all are ready"},
					{Expr: "world.kubernetes.deployments.nats.refine[do=restart][dry_run]", Line: "what a restart of NATS would do"},
				},
				Change: func(ctx context.Context, c *tree.Call) (*tree.Change, error) {
					if c.Args.Get("do") == "restart" {
						return restart(ctx, from, c)
					}
					return scale(ctx, from, c)
				},
			},
		},
	}
}

// maxReplicas is more than the quota of the namespace lets run.
const maxReplicas = 50

func findWorkload(ctx context.Context, from *living.Sources, name string) (*cluster.Client, *cluster.Objects, workload, error) {
	client, o, err := look(ctx, from)
	if err != nil {
		return nil, nil, workload{}, err
	}
	var names []string
	for _, w := range workloads(o) {
		if w.name == name {
			return client, o, w, nil
		}
		names = append(names, w.name)
	}
	return nil, nil, workload{}, &agentese.Error{
		Kind: agentese.KindNotFound, What: "there is no workload " + agentese.QuoteName(name) + " in " + o.Name, Why: "there are " + strings.Join(names, ", "), Try: []string{"world.kubernetes.manifest"},
	}
}

func seeWorkload(ctx context.Context, from *living.Sources, c *tree.Call) (tree.Value, error) {
	_, o, w, err := findWorkload(ctx, from, c.Name("workload"))
	if err != nil {
		return tree.Value{}, err
	}
	return showWorkload(c, o, w), nil
}

func showWorkload(c *tree.Call, o *cluster.Objects, w workload) tree.Value {
	own := podsOf(o, w)
	v := tree.Value{Title: w.kind + " " + w.name, State: w.state(), Table: podTable(own, c)}
	v.Add("wanted", w.wanted, "").Add("ready", w.ready, "").Add("updated", w.updated, "").Add("restarts", restarts(own), "").Add("image", strings.Join(w.images, ", "), "")
	if name, least, most := scaledBy(o, w); name != "" {
		v.Fields = append(v.Fields, tree.Field{Name: "autoscaler", Value: name, Note: fmt.Sprintf("%d to %d replicas", least, most)})
	}
	if w.wanted == 0 {
		v.Note("It is scaled to 0: nothing of it runs.")
	}
	if s := w.state(); s != tree.Well && w.wanted > 0 {
		v.Then("world.kubernetes.deployments."+agentese.QuoteName(w.name)+".refine[do=restart][dry_run]", "what a restart would do")
	}
	if w.kind == "Deployment" {
		v.Then(fmt.Sprintf("world.kubernetes.deployments.%s.refine[replicas=%d][dry_run]", agentese.QuoteName(w.name), w.wanted+1), "what one more would take")
	}
	return v
}

// whyNot says why a StatefulSet isn't scaled from here.
func whyNot(w workload) string {
	switch w.app {
	case "nats":
		return "NATS' servers vote on streams and keep their parts of them: one fewer can cost the majority, one more has no part of a stream until its replicas are moved"
	case "redis":
		return "Redis keeps the identities of events: a second one would be empty and would not know what the first admitted"
	case "kgents-meter":
		return "the embedded meter's database has one writer"
	}
	return "its pods keep data of their own"
}

func scale(ctx context.Context, from *living.Sources, c *tree.Call) (*tree.Change, error) {
	if !c.Args.Has("replicas") {
		return nil, &agentese.Error{Kind: agentese.KindClause, What: "the clause replicas is missing", Why: "it says how many there are to be; [do=restart] restarts those that there are", Try: []string{c.Path + ".refine[replicas=2]"}}
	}
	client, o, w, err := findWorkload(ctx, from, c.Name("workload"))
	if err != nil {
		return nil, err
	}
	if w.kind != "Deployment" {
		return nil, &agentese.Error{Kind: agentese.KindDeclined, What: w.name + " is a StatefulSet, which is not scaled from here", Why: whyNot(w), Try: []string{"concept.runbook.manifest"}}
	}
	to := int32(c.Args.Int("replicas"))
	if to == w.wanted {
		return &tree.Change{Nothing: true, Does: []string{fmt.Sprintf("%s has %d replicas already.", w.name, to)}}, nil
	}
	change := &tree.Change{
		Within: c.Args.Duration("wait"),
		Does:   []string{fmt.Sprintf("scale Deployment %s in %s: %d → %d replicas", w.name, o.Name, w.wanted, to)}, Affects: max(1, int(to-w.wanted), int(w.wanted-to)),
		Do: func(ctx context.Context) (tree.Value, error) {
			// It may have been scaled while the question stood.
			if now, err := client.Deployment(ctx, w.name); err != nil {
				return tree.Value{}, kubernetesAway(err)
			} else if now.Wanted != int(w.wanted) {
				return tree.Value{}, moved(w.name, now.Wanted)
			}
			if err := operate.Scale(ctx, client, w.name, int(to)); err != nil {
				return tree.Value{}, kubernetesAway(err)
			}
			_, o, now, err := findWorkload(ctx, from, w.name)
			if err != nil {
				return tree.Value{Title: w.name + " is scaled", Notes: []string{"How it is now can't be read: " + err.Error()}}, nil
			}
			return showWorkload(c, o, now), nil
		},
		Undo: func(ctx context.Context) error {
			now, err := client.Deployment(ctx, w.name)
			switch {
			case err != nil:
				return kubernetesAway(err)
			case now.Wanted == int(w.wanted):
				return nil
			case now.Wanted != int(to):
				return moved(w.name, now.Wanted) // an autoscaler, or another person
			}
			return kubernetesAway(operate.Scale(ctx, client, w.name, int(w.wanted)))
		},
		Holds: func(ctx context.Context) error {
			now, err := client.Deployment(ctx, w.name)
			switch {
			case err != nil:
				return kubernetesAway(err)
			case now.Wanted != int(to):
				return fmt.Errorf("%d replicas are wanted, not %d: something else has changed it", now.Wanted, to)
			case !now.Observed || now.Ready != int(to) || now.Updated != int(to):
				return fmt.Errorf("%d of %d replicas are ready", now.Ready, to)
			}
			return nil
		},
	}
	if to == 0 {
		change.Warnings = append(change.Warnings, "With 0 replicas nothing of "+w.name+" runs, until it is scaled up again.")
	}
	if name, least, most := scaledBy(o, w); name != "" {
		text := fmt.Sprintf("The autoscaler %s manages it (%d to %d replicas) and changes the number again when it sees fit.", name, least, most)
		if to == 0 {
			text = fmt.Sprintf("The autoscaler %s (%d to %d replicas) is switched off by 0 replicas, until the number is another.", name, least, most)
		} else if to < least || to > most {
			text += " What is asked for is out of its bounds: it takes it back within a minute."
		}
		change.Warnings = append(change.Warnings, text)
	} else if o.Autoscalers.Err != nil {
		change.Warnings = append(change.Warnings, "Whether an autoscaler manages it can't be read.")
	}
	return change, nil
}

// moved is that something else has scaled a Deployment meanwhile, which is left alone.
func moved(name string, wanted int) error {
	return &agentese.Error{Kind: agentese.KindDeclined, What: fmt.Sprintf("%s was scaled to %d meanwhile, and is left so", name, wanted), Try: []string{"world.kubernetes.deployments." + agentese.QuoteName(name) + ".manifest"}}
}
