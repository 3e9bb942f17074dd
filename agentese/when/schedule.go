package when

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/living"
	"github.com/kgents/kgents/agentese/tree"
)

func (w *view) schedule() *tree.Node {
	return &tree.Node{
		Name: "schedule",
		Line: "what has to be done regularly: backups, restore drills, reconciliations, certificates",
		Doc: "Each regular job with when it last came to its end, when it will be done next where the program plans that, and until when it has to be done: that is when the alert for it begins to count (BackupMissing, ReconcileStale, CertificateExpiring). " +
			"Backups and drills are noted by who makes them beside the streams, so they are known whatever started them; the program doesn't know that one's timetable. A restore drill has no alert: prove a restore each night, as the shipped CronJob does. " +
			"What is overdue has failed, or nobody has set it up: on one machine `kgents stream backup` makes a backup.",
		Synonyms: []string{
			"cron", "jobs", "timetable", "calendar", "planned", "backups", "restore drill", "scheduled tasks", "overdue", "due", "next run", "last run", "certificate expiry", "nightly jobs", "maintenance",
		},
		Operator: true,
		Affords: []tree.Affordance{{
			Aspect: agentese.Manifest, Line: "each job: last, next, until when, overdue",
			Asks: []string{
				"when did we last back up", "do we have a backup", "how old is the newest backup", "is the backup working", "did the restore drill pass", "when is the next reconciliation", "which jobs are overdue",
				"what runs tonight", "cron jobs status", "when does the certificate expire", "are tls certs about to expire", "did last night's jobs run", "what is planned", "are we late with anything", "could we restore if the disk died",
			},
			Examples: []tree.Example{
				{Expr: "time.schedule.manifest", Line: "every regular job"},
				{Expr: "time.schedule.manifest[where=overdue=true]", Line: "only what is overdue"},
			},
			See: w.seeSchedule,
		}},
	}
}

// jobs is a table of what is done regularly.
type jobs struct {
	v   *tree.Value
	now time.Time
}

// add adds a job. until is when it has to be done again, zero if nothing says so; verdict
// is that of its alert.
func (j jobs) add(name string, last, next, until time.Time, verdict tree.State, what string) {
	overdue := any(nil)
	switch {
	case !until.IsZero():
		overdue = j.now.After(until)
	case verdict != "":
		overdue = verdict != tree.Well
	}
	state := verdict
	if state == "" {
		state = tree.Unknown
	}
	j.v.State = living.Worse(j.v.State, verdict)
	j.v.Table.Rows = append(j.v.Table.Rows, []any{name, moment(last), moment(next), moment(until), overdue, string(state), what})
}

// within is how old what an alert looks at may be, before it counts.
func (w *view) within(alert string) time.Duration {
	for _, t := range w.limits[alert] {
		return time.Duration(t.Value * float64(time.Second))
	}
	return 0
}

// plus is t later, and the zero time where one of them isn't known.
func plus(t time.Time, d time.Duration) time.Time {
	if t.IsZero() || d <= 0 {
		return time.Time{}
	}
	return t.Add(d)
}

func (w *view) seeSchedule(ctx context.Context, c *tree.Call) (tree.Value, error) {
	r, err := w.report(ctx, c)
	if err != nil {
		return tree.Value{}, err
	}
	v := tree.Value{Title: "What has to be done regularly", Table: &tree.Table{Columns: []tree.Column{
		{Name: "job"}, {Name: "last"}, {Name: "next"}, {Name: "until"}, {Name: "overdue"}, {Name: "state"}, {Name: "what"},
	}}}
	j := jobs{&v, r.Now}
	w.backups(j, r.Backup != nil, func() (last, drill time.Time, words string) {
		last = r.Backup.Last
		if d := r.Backup.Drill; d != nil {
			drill, words = d.At, fmt.Sprintf("restored %s: %d messages, %d events, in %.0f s", d.Backup, d.Messages, d.Events, d.Took)
		}
		return last, drill, words
	})
	if rec := r.Reconciliation; rec == nil {
		v.Note("Reconciliation is known to the roles up and sink alone; this is the role " + r.Role + ".")
	} else {
		limit := w.within("ReconcileStale")
		interval := time.Duration(rec.Interval * float64(time.Second))
		from := rec.Last
		what := "the last one missed nothing"
		switch {
		case rec.Last.IsZero():
			from, what = r.Started, "none has come to its end since the program's start"
		case rec.Missing != nil && *rec.Missing > 0:
			what = fmt.Sprintf("the last one missed %d events", *rec.Missing)
		}
		if interval == 0 {
			what += "; none is scheduled (RECONCILE_INTERVAL=0)"
		}
		until := plus(from, limit)
		verdict := w.limits.Verdict("ReconcileStale", r.Now.Sub(from).Seconds())
		if rec.Missing != nil {
			verdict = living.Worse(verdict, w.limits.Verdict("ReconcileMissingEvents", *rec.Missing))
		}
		j.add("reconciliation", rec.Last, plus(from, interval), until, verdict, what)
	}
	w.certificates(ctx, j)
	late := int64(0)
	for _, row := range v.Table.Rows {
		if row[4] == true {
			late++
		}
	}
	v.Add("overdue", late, "")
	v.Note("Until is when an alert begins to count: BackupMissing, ReconcileStale, CertificateExpiring in alerts/rules.yaml. How old secrets may be is in docs/saas/secrets.md, and is looked at by the checklist (secrets-age).")
	v.Then("world.openmeter.reconciliation.manifest", "what the last comparison has found")
	v.Then("concept.checklist.manifest", "what else has to be done before and after a launch")
	return v, nil
}

// backups adds the backup and the drill. read is asked only where the servers have said
// something of them.
func (w *view) backups(j jobs, known bool, read func() (last, drill time.Time, words string)) {
	if !known {
		j.add("backup", time.Time{}, time.Time{}, time.Time{}, "", "the servers don't say")
		j.add("restore drill", time.Time{}, time.Time{}, time.Time{}, "", "the servers don't say")
		return
	}
	last, drill, words := read()
	if last.IsZero() {
		// The alert counts from 1970 then.
		j.add("backup", last, time.Time{}, time.Time{}, w.limits.Verdict("BackupMissing", float64(j.now.Unix())), "none was ever made: kgents stream backup makes one")
	} else {
		j.add("backup", last, time.Time{}, plus(last, w.within("BackupMissing")), w.limits.Verdict("BackupMissing", j.now.Sub(last).Seconds()), "the moment that the newest holds")
	}
	if drill.IsZero() {
		words = "none was ever done: kgents stream drill does one; no alert looks at it"
	}
	j.add("restore drill", drill, time.Time{}, time.Time{}, "", words)
}

// certificates adds those by which the process that answers reaches NATS.
func (w *view) certificates(ctx context.Context, j jobs) {
	m, err := w.Metrics(ctx)
	if err != nil {
		living.Missing(j.v, "Certificates", err)
		return
	}
	by := m.By("kgents_certificate_expiry_timestamp_seconds", "name")
	var names []string
	for name := range by {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		expires := time.Unix(int64(by[name]), 0)
		left := expires.Sub(j.now)
		verdict := w.limits.Verdict("CertificateExpiring", left.Seconds())
		soonest := time.Duration(0) // of the alerts, the one that counts first
		for _, t := range w.limits["CertificateExpiring"] {
			soonest = max(soonest, time.Duration(t.Value*float64(time.Second)))
		}
		j.add("certificate "+name, time.Time{}, time.Time{}, expires.Add(-soonest), verdict, "expires at "+stamp(expires))
	}
	if len(names) == 0 {
		j.v.Note("No certificate is in use between the program and NATS.")
	}
}
