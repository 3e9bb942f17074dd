package checks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kgents/kgents/checklist"
	"github.com/kgents/kgents/cluster"
	"github.com/kgents/kgents/secrets"
)

// dueSoon is from when on a secret's end of period is said.
const dueSoon = 14 * 24 * time.Hour

// secretsAge compares each secret's age with its period of rotation, by the record that
// `kgents secrets` keeps: that of the cluster, else that of the directory.
func (m *manifestArea) secretsAge(ctx context.Context) checklist.Finding {
	if o := m.Objects(ctx); o != nil {
		return agesOfCluster(o, time.Now())
	}
	if m.SecretsDir == "" {
		return checklist.CannotTell("no directory of kgents secrets is known", "name it: --secrets-dir")
	}
	if _, err := os.Stat(m.SecretsDir); errors.Is(err, fs.ErrNotExist) {
		return checklist.CannotTell(cut("there is no directory "+m.SecretsDir, evidence), "make it with kgents secrets init, or name another: --secrets-dir")
	}
	ages, err := secrets.Ages(m.SecretsDir)
	if err != nil {
		return checklist.CannotTell(cut(err.Error(), evidence), "look at it with kgents secrets list, or name another directory: --secrets-dir")
	}
	return judgeAges(ages, "the record of the directory", time.Now())
}

func agesOfCluster(o *cluster.Objects, now time.Time) checklist.Finding {
	if f := unread(o.ConfigMaps.Err); f != nil {
		return *f
	}
	// Its name may end in a hash; of several the newest is the one that is deployed.
	var record *corev1.ConfigMap
	for i := range o.ConfigMaps.Items {
		c := &o.ConfigMaps.Items[i]
		if c.Name != secrets.AgesConfigMap && !strings.HasPrefix(c.Name, secrets.AgesConfigMap+"-") {
			continue
		}
		if record == nil || record.CreationTimestamp.Before(&c.CreationTimestamp) {
			record = c
		}
	}
	if record == nil {
		return checklist.CannotTell("namespace "+o.Name+" has no record of when secrets were made (ConfigMap "+secrets.AgesConfigMap+")",
			"deploy the overlay that makes it from kgents secrets; with a vault compare the vault's own dates with secrets.md")
	}
	ages, err := secrets.ReadAges([]byte(record.Data[secrets.AgesKey]))
	if err != nil {
		return checklist.CannotTell(cut("ConfigMap "+record.Name+": "+err.Error(), evidence), "deploy again after kgents secrets list shows every age")
	}
	return judgeAges(ages, "ConfigMap "+record.Name, now)
}

// judgeAges says what speaks against the secrets. An age that is not known is no reason
// to pass.
func judgeAges(ages []secrets.Age, where string, now time.Time) checklist.Finding {
	var late, unknown, soon []string
	oldest := time.Duration(0)
	for _, a := range ages {
		problem := a.Problem(now)
		switch {
		case problem == "" && a.Due().Sub(now) < dueSoon:
			soon = append(soon, a.Name+" on "+a.Due().Format(time.DateOnly))
		case problem != "" && a.Made.IsZero() && a.Rotating.IsZero():
			unknown = append(unknown, a.Name)
		case problem != "":
			late = append(late, a.Name+": "+problem)
		}
		if !a.Made.IsZero() {
			oldest = max(oldest, now.Sub(a.Made))
		}
	}
	const rotate = "infra/k8s/scripts/rotate-secret.sh NAME does it without loss; kgents secrets list shows all"
	switch {
	case len(late) > 0:
		return checklist.Failed(cut(some(late), evidence), rotate)
	case len(unknown) > 0:
		return checklist.CannotTell(cut(fmt.Sprintf("%s says nothing of the age of %s", where, some(unknown)), evidence), "rotate each once: kgents secrets rotate NAME")
	case len(ages) == 0:
		return checklist.CannotTell(where+" has no secret", "look at kgents secrets list")
	case len(soon) > 0:
		return checklist.Warned(cut("to be rotated soon: "+some(soon), evidence), rotate)
	}
	return checklist.Passed("%s by %s, each within its period; the oldest is %s old", plural(len(ages), "secret"), where, plural(int(oldest/(24*time.Hour)), "day"))
}
