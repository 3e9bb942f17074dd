package checks

import (
	"context"

	"github.com/kgents/kgents/checklist"
)

// secretsAge compares each secret's age with its period of rotation.
func (m *manifestArea) secretsAge(context.Context) checklist.Finding {
	return checklist.CannotTell("no rotation period is known", "use a newer kgents")
}
