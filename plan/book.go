package plan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/meter"
)

const (
	// every is how often a Book looks at its file. It reads it whole: a ConfigMap is
	// changed by a symbolic link's new target, which keeps times and sizes.
	every = 5 * time.Second

	// recheck is how often meters that were missing, or could not be asked for, are
	// looked for again.
	recheck = time.Minute

	meterPatience = 5 * time.Second
)

// Config is what a Book needs.
type Config struct {
	File   string            // empty = the plans that come with the program
	Prices map[string]string // Stripe's price ids of this environment, by lookup key

	// Meters lists what the meter counts. A feature whose meter isn't among them is
	// logged as an error and counted in a metric; it stops nothing, since the meter may
	// be away, or get it later. Nil = not checked.
	Meters func(context.Context) ([]meter.Meter, error)

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Book has the plans in force, and follows their file.
type Book struct {
	config  Config
	log     *slog.Logger
	current atomic.Pointer[kgents.Catalog]

	seen    []byte // content of the file when it was last looked at; nil if it could not be read
	trouble string // of the last look, so that it is logged once

	checked *kgents.Catalog // whose meters are all there
	asked   *kgents.Catalog // about which the meter was last asked
	askedAt time.Time
	told    *kgents.Catalog // of which it was logged that meters are missing

	failures             prometheus.Counter
	good, since, missing prometheus.Gauge

	stop context.CancelFunc
	done sync.WaitGroup
}

// Open reads the plans and goes on to follow them. A file that is missing or wrong is
// an error here, and later never.
func Open(c Config) (*Book, error) {
	b := &Book{config: c, log: c.Log}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if err := b.checkPrices(); err != nil {
		return nil, err
	}
	source := embedded
	if c.File != "" {
		var err error
		if source, err = ReadFile(c.File); err != nil {
			return nil, fmt.Errorf("PLANS_FILE: %w", err)
		}
	}
	catalog, err := Load(source)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.name(), err)
	}
	b.register(c.Registerer)
	b.seen = source
	b.use(catalog)

	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	if c.File != "" || c.Meters != nil {
		b.done.Go(func() { b.follow(ctx) })
	}
	return b, nil
}

// Current is the catalogue in force, never nil. It is shared: don't change it.
func (b *Book) Current() *kgents.Catalog { return b.current.Load() }

// Close ends the following. Current stays what it is.
func (b *Book) Close() {
	b.stop()
	b.done.Wait()
}

func (b *Book) name() string {
	if b.config.File == "" {
		return "the plans that come with the program"
	}
	return b.config.File
}

func (b *Book) register(r prometheus.Registerer) {
	b.failures = prometheus.NewCounter(prometheus.CounterOpts{Name: "kgents_plans_reload_failures_total",
		Help: "Changes of PLANS_FILE that were refused for a mistake, or because the file could not be read. The plans before stay in force."})
	b.good = prometheus.NewGauge(prometheus.GaugeOpts{Name: "kgents_plans_last_reload_successful",
		Help: "1 while the plans in force are those of the file, 0 while the file has a mistake or can't be read."})
	b.since = prometheus.NewGauge(prometheus.GaugeOpts{Name: "kgents_plans_last_reload_success_timestamp_seconds",
		Help: "When the plans in force were read."})
	b.missing = prometheus.NewGauge(prometheus.GaugeOpts{Name: "kgents_plans_unmetered_features",
		Help: "Features of the plans in force whose meter doesn't exist, or doesn't add up: nothing limits them. As of the last time the meter could be asked."})
	if r != nil {
		r.MustRegister(b.failures, b.good, b.since, b.missing)
	}
}

// use puts a catalogue into force.
func (b *Book) use(c *kgents.Catalog) {
	known := map[string]bool{}
	for i := range c.Plans {
		for j := range c.Plans[i].Prices {
			p := &c.Plans[i].Prices[j]
			p.Stripe = b.config.Prices[p.LookupKey]
			known[p.LookupKey] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(b.config.Prices)) {
		if b.config.Prices[key] != "" && !known[key] {
			b.log.Warn("a Stripe price is set for a lookup key that no plan has", "lookup_key", key, "plans", b.name())
		}
	}
	b.current.Store(c)
	b.good.Set(1)
	b.since.SetToCurrentTime()
}

// checkPrices refuses one price for two plans: which was paid for could not be told.
func (b *Book) checkPrices() error {
	keys := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(b.config.Prices)) {
		id := b.config.Prices[key]
		if other, twice := keys[id]; twice && id != "" {
			return fmt.Errorf("the lookup keys %s and %s have the same Stripe price: a payment would not tell which it is for", other, key)
		}
		keys[id] = key
	}
	return nil
}

func (b *Book) follow(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		b.checkMeters(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if b.config.File != "" {
			b.reload()
		}
	}
}

// reload looks at the file, and takes it over if it has changed for the better.
func (b *Book) reload() {
	source, err := ReadFile(b.config.File)
	if err == nil && b.seen != nil && bytes.Equal(source, b.seen) {
		return
	}
	b.seen = source
	var catalog *kgents.Catalog
	if err == nil {
		catalog, err = Load(source)
	}
	if err != nil {
		if text := err.Error(); text != b.trouble { // a file that stays away is one trouble
			b.trouble = text
			b.failures.Inc()
			b.log.Error("the plans' file is not taken over, the plans before stay in force", "file", b.config.File, "error", err)
		}
		b.good.Set(0)
		return
	}
	b.trouble = ""
	before := b.Current()
	b.use(catalog)
	gonePlans, gonePrices := gone(before, catalog)
	b.log.Info("the plans have been read again", "file", b.config.File, "plans", len(catalog.Plans))
	if len(gonePlans)+len(gonePrices) > 0 {
		b.log.Warn("plans or prices are gone: who has one is on the default plan now", "plans", gonePlans, "lookup_keys", gonePrices, "default", catalog.Default)
	}
}

// gone is what before had and now lacks.
func gone(before, now *kgents.Catalog) (plans, prices []string) {
	for _, p := range before.Plans {
		if _, ok := now.Plan(p.ID); !ok {
			plans = append(plans, p.ID)
		}
		for _, price := range p.Prices {
			if _, ok := now.PlanOfPrice(price.LookupKey); !ok {
				prices = append(prices, price.LookupKey)
			}
		}
	}
	return plans, prices
}

// checkMeters asks until all meters are there: at once for a new catalogue, then once a
// minute.
func (b *Book) checkMeters(ctx context.Context) {
	c := b.Current()
	if b.config.Meters == nil || b.checked == c || b.asked == c && time.Since(b.askedAt) < recheck {
		return
	}
	b.asked, b.askedAt = c, time.Now()
	ctx, cancel := context.WithTimeout(ctx, meterPatience)
	defer cancel()
	meters, err := b.config.Meters(ctx)
	if err != nil {
		return // whoever needs the meter says that it is away
	}
	missing := 0
	for _, f := range c.Features {
		if checkMeter(f, meters) != nil {
			missing++
		}
	}
	b.missing.Set(float64(missing))
	if missing == 0 {
		b.checked = c
		return
	}
	if b.told != c {
		b.told = c
		b.log.Error("the meter does not count all that plans limit: what it lacks is not limited", "plans", b.name(), "error", CheckMeters(c, meters))
	}
}

// ReadFile is a file's content, for Load. It stops one byte past what is allowed.
func ReadFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, errors.New(name + " is a directory: name the file in it")
	}
	return io.ReadAll(io.LimitReader(f, MaxFile+1))
}
