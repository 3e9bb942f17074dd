package checks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/stream/backup"
	"github.com/kgents/kgents/stream/backup/store"
)

const (
	backupFor = 24 * time.Hour     // age of the newest backup
	drillFor  = 8 * 24 * time.Hour // age of the last drill that is believed

	setBackup = "set BACKUP_URL, and what it needs, as the backup's CronJob has it"
)

// backupList is what the place of backups holds.
type backupList struct {
	store  backup.Store
	newest *backup.Entry // that is whole and of our stream; nil without one
	count  int           // of such
	broken []string      // names of damaged ones
}

// listed reads names, sizes and manifests. A gap means that no place is configured.
func (a *serverArea) listed(ctx context.Context) (backupList, error) {
	return a.backups.get(ctx, storePatience, func(ctx context.Context) (l backupList, err error) {
		c := a.Settings
		if c.BackupURL == "" {
			return l, &gap{"the place of backups is not known", setBackup}
		}
		if l.store, err = store.Open(store.Settings{
			URL: c.BackupURL, Endpoint: c.BackupS3Endpoint, Region: c.BackupS3Region, AccessKey: c.AWSAccessKeyID, SecretKey: c.AWSSecretKey,
		}); err != nil {
			return l, &gap{err.Error(), setBackup}
		}
		entries, err := backup.List(ctx, l.store)
		if err != nil {
			return l, err
		}
		for _, e := range slices.Backward(entries) { // the newest first
			switch {
			case e.State == backup.Damaged:
				l.broken = append(l.broken, e.Name)
			case e.State != backup.Whole || e.Stream != a.Stream.Name:
			default:
				l.count++
				if l.newest == nil {
					l.newest = &e
				}
			}
		}
		return l, nil
	})
}

const lookAtBackups = "look at BACKUP_URL and its credentials: kgents stream list"

// backupFresh goes by what is in the place of backups, and by the servers' note of the
// last where that place is not known here.
func (a *serverArea) backupFresh(ctx context.Context) checklist.Finding {
	const mend = "make one: kgents stream backup --to URL, or look at the Job of the CronJob kgents-backup"
	l, err := a.listed(ctx)
	if _, unset := errors.AsType[*gap](err); unset {
		return a.backupNoted(ctx, err, mend)
	}
	switch {
	case err != nil:
		return checklist.CannotTell(cut(err.Error(), 200), lookAtBackups)
	case l.newest == nil:
		return checklist.Failed(cut(fmt.Sprintf("%s holds no whole backup of %s", l.store, a.Stream.Name), 200), mend)
	}
	age := time.Since(l.newest.Began)
	seen := fmt.Sprintf("%s is %s old, with %d messages and %d events; %s in all", l.newest.Name, sayAge(age), l.newest.Messages, l.newest.Events, plural(l.count, "backup"))
	switch {
	case age > backupFor:
		return checklist.Failed(cut(seen, 200), mend)
	case len(l.broken) > 0:
		return checklist.Warned(cut(seen+", damaged: "+some(l.broken), 200), "kgents stream verify says what is wrong with them")
	}
	return checklist.Passed("%s", cut(seen, 200))
}

func (a *serverArea) backupNoted(ctx context.Context, unset error, mend string) checklist.Finding {
	r, err := a.report(ctx)
	switch {
	case err != nil || r.Backup == nil:
		return blind(unset, setBackup)
	case r.Backup.Last.IsZero():
		return checklist.Failed("the servers have noted no backup", mend)
	}
	age := time.Since(r.Backup.Last)
	seen := fmt.Sprintf("the servers have noted one that is %s old", sayAge(age))
	if age > backupFor {
		return checklist.Failed(seen, mend)
	}
	return checklist.Passed("%s", seen)
}

// backupRestorable restores the newest backup, where it and its identity can be read
// from here; else the last drill that the servers have noted must be young enough.
func (a *serverArea) backupRestorable(ctx context.Context) checklist.Finding {
	l, err := a.listed(ctx)
	_, unset := errors.AsType[*gap](err)
	switch {
	case err != nil && !unset:
		return checklist.CannotTell(cut(err.Error(), 200), lookAtBackups)
	case err == nil && l.newest == nil:
		return checklist.Failed(cut(fmt.Sprintf("%s holds no whole backup of %s", l.store, a.Stream.Name), 200), "make one: kgents stream backup --to URL")
	}
	var identities backup.Identities
	if err == nil && a.Settings.BackupIdentities != "" {
		if identities, err = backup.ParseIdentities(a.Settings.BackupIdentities); err != nil {
			return checklist.CannotTell(cut(err.Error(), 200), "set BACKUP_IDENTITY_FILE to the identity's file")
		}
	}
	if err != nil || len(l.newest.Recipients) > 0 && identities.None() {
		return a.drillNoted(ctx, err)
	}
	report, err := backup.Drill(ctx, backup.Source{Store: l.store, Name: l.newest.Name, Identities: identities}, "", nil)
	const mend = "kgents stream verify says what is wrong; make another backup now, and keep this one"
	switch code := kgents.ErrorCode(err); {
	case ctx.Err() != nil:
		return checklist.CannotTell("the restore of "+l.newest.Name+" took too long", "let a drill do it without a bound: kgents stream drill")
	case code == kgents.CodeInvalid:
		return checklist.Failed(cut(err.Error(), 200), mend)
	case err != nil:
		return checklist.CannotTell(cut(err.Error(), 200), "kgents stream drill; it needs BACKUP_IDENTITY_FILE and room in the temporary directory")
	case !report.Sound():
		return checklist.Failed(cut(report.Problem, 200), mend)
	}
	return checklist.Passed("%s was restored into a scratch server now: %d messages with %d events, as its manifest says, in %.1f s",
		report.Backup, report.Messages, report.Events, report.Took)
}

// drillNoted goes by the servers' note of the last drill.
func (a *serverArea) drillNoted(ctx context.Context, unset error) checklist.Finding {
	const mend = "kgents stream drill, or look at the Job of the CronJob kgents-backup-drill"
	r, err := a.report(ctx)
	switch {
	case err != nil && unset != nil:
		return blind(unset, setBackup)
	case err != nil || r.Backup == nil:
		return checklist.CannotTell("the newest backup is sealed, and the program knows of no drill", "set BACKUP_IDENTITY_FILE to restore it from here, or: "+mend)
	case r.Backup.Drill == nil:
		return checklist.Failed("no backup was ever restored: the servers have noted no drill", mend)
	}
	d := r.Backup.Drill
	age := time.Since(d.At)
	seen := fmt.Sprintf("%s was restored %s ago: %d messages with %d events in %.1f s", cut(d.Backup, 60), sayAge(age), d.Messages, d.Events, d.Took)
	if age > drillFor {
		return checklist.Failed(seen, mend)
	}
	return checklist.Passed("%s", seen)
}

func (a *serverArea) backupEncrypted(ctx context.Context) checklist.Finding {
	l, err := a.listed(ctx)
	const mend = "set BACKUP_RECIPIENT to an age public key whose identity is kept elsewhere (kgents secrets init makes one)"
	switch {
	case a.BackupVolume != "" && a.Settings.BackupRecipients == "":
		return checklist.Failed("the pods that make backups have no BACKUP_RECIPIENT", mend)
	case a.BackupVolume != "":
		return checklist.Warned(cut("the pods seal backups for "+a.Settings.BackupRecipients+"; what is on their volume can't be read from here", 200),
			"look inside a pod: kgents stream list; or put backups into a bucket that can be read from here")
	case err != nil:
		return blind(err, lookAtBackups)
	case l.newest == nil:
		return checklist.CannotTell("there is no backup to look at", "make one: kgents stream backup --to URL")
	case len(l.newest.Recipients) == 0:
		return checklist.Failed(l.newest.Name+" is not encrypted", mend)
	}
	beside, err := identityIn(a.Settings.BackupURL)
	switch {
	case err != nil:
		return checklist.CannotTell(cut(err.Error(), 200), lookAtBackups)
	case beside != "":
		return checklist.Failed(cut("an age identity lies beside the backups: "+beside, 200), "take it away, make a new one and seal later backups to that")
	}
	return checklist.Passed("%s is encrypted with age for %s, and no identity lies beside it", l.newest.Name, cut(some(l.newest.Recipients), 90))
}

// identityIn is the name of a file in a directory of backups that holds an identity.
// Only files at the top are looked at, each its first 64 kB, as nobody hides one there:
// they are left there. Of a bucket we know our own files alone.
func identityIn(place string) (string, error) {
	if strings.Contains(place, "://") {
		return "", nil
	}
	entries, err := os.ReadDir(place)
	if err != nil {
		return "", err
	}
	const most = 1000
	for _, e := range entries[:min(most, len(entries))] {
		if !e.Type().IsRegular() {
			continue
		}
		f, err := os.Open(filepath.Join(place, e.Name()))
		if err != nil {
			return "", err
		}
		head, err := io.ReadAll(io.LimitReader(f, 64<<10))
		f.Close()
		if err != nil {
			return "", err
		}
		if bytes.Contains(head, []byte("AGE-SECRET-KEY-")) {
			return e.Name(), nil
		}
	}
	return "", nil
}

// backupElsewhere wants a bucket that does not end with the cluster or the machine.
func (a *serverArea) backupElsewhere(ctx context.Context) checklist.Finding {
	l, err := a.listed(ctx)
	const mend = "set BACKUP_URL to s3://bucket/prefix of another provider or region, and BACKUP_S3_ENDPOINT to its server"
	if a.BackupVolume != "" {
		return checklist.Failed(cut(a.BackupVolume, 90)+" of the pods is a directory: a volume of the cluster", mend)
	}
	if err != nil {
		return blind(err, lookAtBackups)
	}
	place := cut(l.store.String(), 90)
	if !strings.Contains(a.Settings.BackupURL, "://") {
		switch {
		case a.Target == checklist.Kubernetes:
			return checklist.Failed(place+" is a directory: a volume of the cluster", mend)
		case sameDisk(a.Settings.BackupURL, a.Settings.DataDir):
			return checklist.Failed(place+" is on the disk that it is the backup of", mend)
		}
		return checklist.Warned(place+" is on another disk of this machine", mend)
	}
	host := hostOfEndpoint(a.Settings.BackupS3Endpoint)
	switch {
	case near(host):
		return checklist.Failed(fmt.Sprintf("%s is served by %s, which goes with this machine or the cluster", place, cut(host, 60)), mend)
	case l.newest == nil:
		return checklist.Failed(place+" holds no whole backup", "make one: kgents stream backup --to URL")
	case host == "":
		return checklist.Passed("%s is Amazon's, and holds %s", place, plural(l.count, "whole backup"))
	}
	return checklist.Passed("%s at %s is outside the cluster by its name, and holds %s", place, cut(host, 60), plural(l.count, "whole backup"))
}

// hostOfEndpoint is empty for Amazon's.
func hostOfEndpoint(endpoint string) string {
	if endpoint == "" {
		return ""
	}
	if !strings.Contains(endpoint, "://") {
		endpoint = "//" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint
	}
	return u.Hostname()
}

// near says whether a name leads to this machine or into the cluster. A name without
// a dot is a service's, and private addresses are a cluster's or its provider's.
func near(host string) bool {
	if host == "" {
		return false
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") ||
		strings.HasSuffix(host, ".svc") || strings.HasSuffix(host, ".cluster.local") || strings.HasSuffix(host, ".local")
}

// sameDisk says whether two paths are on one filesystem, and true when that can't be
// told.
func sameDisk(one, other string) bool {
	var a, b syscall.Stat_t
	if syscall.Stat(one, &a) != nil || syscall.Stat(other, &b) != nil {
		return true
	}
	return a.Dev == b.Dev
}

// sayAge is an age for people.
func sayAge(d time.Duration) string {
	if d > 48*time.Hour {
		return fmt.Sprintf("%.0f days", d.Hours()/24)
	}
	return max(0, d).Round(time.Minute).String()
}
