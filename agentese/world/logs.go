package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/mask"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/term"
)

// What is read of logs at once. More is left out, and said.
const (
	maxLogLines = 1000   // shown
	searched    = 10_000 // of each container, where lines with a word are looked for
	maxLogPods  = 20
	maxLogText  = 2000 // runes of a message, and of the rest
	maxLogPairs = 100  // of a line that is a JSON object
)

// logParams are the clauses of what shows a log.
func logParams() []tree.Param {
	return []tree.Param{
		{Key: "since", Line: "only lines since then", Kind: tree.Time},
		{Key: "word", Line: "only lines with this word in level, message or the rest, whatever its case", Kind: tree.Text},
		{Key: "limit", Line: "the newest so many", Kind: tree.Number, Min: 1, Max: maxLogLines, Default: "100"},
		{Key: "previous", Line: "of the containers that have ended before those that run", Kind: tree.Flag},
		{Key: "container", Line: "only of the container of this name"},
	}
}

const logDoc = `The newest lines of its log, the newest last: a line that is a JSON object as time, level, message and the rest, any other as its message. ` +
	`What looks like a key or a password is masked, and what a terminal would obey is taken out. [previous] is the log of the container that ended before this one, after a crash. It needs the right to get pods/log.`

// seeLogs shows what the containers of pods have written, the newest last.
func seeLogs(ctx context.Context, client *cluster.Client, c *tree.Call, title string, pods []corev1.Pod) (tree.Value, error) {
	v := tree.Value{Title: "Log of " + title, Table: &tree.Table{Columns: []tree.Column{{Name: "time"}, {Name: "pod", Link: "world.kubernetes.pods.{}"}, {Name: "container"}, {Name: "level"}, {Name: "message"}, {Name: "rest"}}}}
	if len(pods) > maxLogPods {
		v.Note(fmt.Sprintf("Of %d pods only %d are read: name one of them.", len(pods), maxLogPods))
		pods = pods[:maxLogPods]
	}
	limit, word := c.Args.Int("limit"), strings.ToLower(c.Args.Get("word"))
	ask := cluster.Lines{Since: c.Args.Time("since"), Previous: c.Args.Flag("previous"), Most: limit}
	if word != "" {
		ask.Most = searched
	}
	var all []logLine
	read, looked, older, crashed := 0, 0, false, ""
	for _, p := range pods {
		for _, name := range containersOf(p, c.Args.Get("container")) {
			ask.Container = name
			lines, more, err := client.Tail(ctx, p.Name, ask)
			if e, ok := errors.AsType[*cluster.NoLogError](err); ok {
				v.Note(p.Name + ": " + term.Printable(e.Reason))
				continue
			}
			if err != nil {
				return tree.Value{}, kubernetesAway(err)
			}
			read++
			looked += len(lines)
			older = older || more
			for _, l := range lines {
				line := readLine(l.Text)
				line.at, line.pod, line.container = l.At, p.Name, name
				if word == "" || line.has(word) {
					all = append(all, line)
				}
			}
		}
		if endedBefore(p) && crashed == "" {
			crashed = p.Name
		}
	}
	slices.SortStableFunc(all, func(a, b logLine) int { return a.at.Compare(b.at) })
	shown := all[max(0, len(all)-limit):]
	for _, l := range shown {
		v.Table.Rows = append(v.Table.Rows, []any{moment(l.at), l.pod, l.container, l.level, l.message, l.rest})
	}
	if len(all) > len(shown) {
		v.Table.Total = len(all)
	}
	v.Add("lines", len(shown), "").Add("lines looked at", looked, "").Add("containers", read, "")
	switch {
	case word != "" && older:
		v.Note(fmt.Sprintf("Older lines were not looked at: of each container the newest %d, and %d MiB.", searched, cluster.MaxLog>>20))
	case older || len(all) > len(shown):
		v.Note("There are older lines: [limit] and [since] show more, [word] looks through them.")
	}
	if len(shown) == 0 && read > 0 {
		v.Note("No line is there that was asked for.")
	}
	if crashed != "" && !ask.Previous {
		v.Then("world.kubernetes.pods."+agentese.QuoteName(crashed)+".witness[previous]", "what it wrote before it ended the last time")
	}
	return v, nil
}

// containersOf are a pod's containers, or the one of that name.
func containersOf(p corev1.Pod, name string) []string {
	var out []string
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if own := slices.ContainsFunc(p.Spec.Containers, func(d corev1.Container) bool { return d.Name == c.Name }); name == c.Name || name == "" && own {
			out = append(out, c.Name)
		}
	}
	return out
}

// endedBefore says whether a container of a pod has ended and was started again.
func endedBefore(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool { return s.LastTerminationState.Terminated != nil })
}

// logLine is one of a log's as it is shown.
type logLine struct {
	at                   time.Time
	pod, container       string
	level, message, rest string
}

func (l logLine) has(word string) bool {
	return strings.Contains(strings.ToLower(l.level+" "+l.message+" "+l.rest), word)
}

// escapes are what a terminal takes for commands: CSI, OSC and the two-letter ones.
var escapes = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[ -/]*[0-~])")

// shownText is what others wrote, without secrets, escapes and more than a look can take.
func shownText(text string) string {
	text = term.Printable(strings.NewReplacer("\n", " ", "\t", " ", "\r", " ").Replace(escapes.ReplaceAllString(text, "")))
	text = mask.Secrets(text)
	if utf8.RuneCountInString(text) > maxLogText {
		text = string([]rune(text)[:maxLogText]) + "…"
	}
	return text
}

// How programs call the time, the level and the message of a line.
var (
	timeKeys    = []string{"time", "ts", "timestamp", "@timestamp"}
	levelKeys   = []string{"level", "severity", "lvl"}
	messageKeys = []string{"msg", "message"}
)

// readLine reads one line of a log.
func readLine(text string) logLine {
	plain := logLine{message: shownText(text)}
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		return plain
	}
	var object map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber() // figures as they were written
	if d.Decode(&object) != nil || d.More() {
		return plain
	}
	take := func(keys []string) string {
		for _, k := range keys {
			switch v := object[k].(type) {
			case string:
				delete(object, k)
				return v
			case json.Number:
				delete(object, k)
				return v.String()
			}
		}
		return ""
	}
	line := logLine{level: shownText(strings.ToUpper(take(levelKeys))), message: shownText(take(messageKeys))}
	take(timeKeys) // the cluster's own stands beside it
	var pairs []string
	flatten("", object, &pairs)
	line.rest = strings.Join(pairs, " ")
	if utf8.RuneCountInString(line.rest) > maxLogText {
		line.rest = string([]rune(line.rest)[:maxLogText]) + "…"
	}
	return line
}

// flatten appends a value's parts as name=value, by their names.
func flatten(name string, v any, into *[]string) {
	if len(*into) > maxLogPairs {
		return
	}
	at := func(key string) string { return strings.TrimPrefix(name+"."+key, ".") }
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			flatten(at(k), v[k], into)
		}
		return
	case []any:
		for i, one := range v {
			flatten(at(strconv.Itoa(i)), one, into)
		}
		return
	}
	if len(*into) == maxLogPairs {
		*into = append(*into, "…")
		return
	}
	text := shownText(valueText(v))
	// Some names say that what they name is a secret, blanks and all.
	if pair := name + "=secret"; mask.Secrets(pair) != pair {
		text = mask.Masked
	}
	if text == "" || strings.ContainsAny(text, ` "=`) {
		text = strconv.Quote(text)
	}
	*into = append(*into, shownText(name)+"="+text)
}

func valueText(v any) string {
	if v == nil {
		return "null"
	}
	return fmt.Sprint(v) // a string, a figure as it was written, true or false
}

// seePodLogs shows the log of one pod.
func seePodLogs(ctx context.Context, from *living.Sources, c *tree.Call) (tree.Value, error) {
	client, p, err := findPod(ctx, from, c.Name("pod"))
	if err != nil {
		return tree.Value{}, err
	}
	if name := c.Args.Get("container"); name != "" && len(containersOf(p, name)) == 0 {
		return tree.Value{}, &agentese.Error{Kind: agentese.KindClause, What: p.Name + " has no container " + agentese.QuoteName(name), Why: "it has " + strings.Join(containersOf(p, ""), ", ")}
	}
	return seeLogs(ctx, client, c, p.Name, []corev1.Pod{p})
}

// seeWorkloadLogs shows the logs of all pods of a workload, by time.
func seeWorkloadLogs(ctx context.Context, from *living.Sources, c *tree.Call) (tree.Value, error) {
	client, o, w, err := findWorkload(ctx, from, c.Name("workload"))
	if err != nil {
		return tree.Value{}, err
	}
	pods := podsOf(o, w)
	v, err := seeLogs(ctx, client, c, "the pods of "+w.name, pods)
	if err == nil && len(pods) == 0 {
		v.Note("It has no pod.")
	}
	return v, err
}
