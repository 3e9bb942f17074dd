package app

import (
	"fmt"
	"os"
	"strings"

	"github.com/kgents/kgents/meter"
	"github.com/kgents/kgents/meter/local"
)

// ReadMeters reads METERS_FILE, the meters of the embedded meter; without one they are
// the default set. The error names the setting and says what is wrong in which line.
func ReadMeters(file string) ([]meter.Meter, error) {
	if file == "" {
		return local.DefaultMeters(), nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("METERS_FILE: %w", err)
	}
	meters, err := local.LoadMeters(b)
	if err != nil {
		line, _, _ := strings.Cut(err.Error(), "\n") // a picture of the place follows
		return nil, fmt.Errorf("METERS_FILE %s: %s", file, line)
	}
	return meters, nil
}
