package main

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// noArgs refuses what stands behind a command that takes flags only.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("'%s' takes no arguments, not %q: see '%[1]s --help'", cmd.CommandPath(), args[0])
}

// words completes a flag by fixed words, not by the names of files.
func words(cmd *cobra.Command, flag string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// directory is a flag's value that is not empty: a script whose variable is unset
// would else use the default directory without a word.
type directory string

func (d *directory) String() string { return string(*d) }
func (d *directory) Type() string   { return "string" }

func (d *directory) Set(s string) error {
	if s == "" {
		return errors.New("it is empty: name a directory")
	}
	*d = directory(s)
	return nil
}

const day = 24 * time.Hour

// period is a flag's value as time.ParseDuration reads it, with days besides: 7d,
// 1d12h.
type period time.Duration

func (p *period) String() string { return time.Duration(*p).String() }
func (p *period) Type() string   { return "duration" }

func (p *period) Set(s string) error {
	wrong := errors.New("it is no length of time: use for example 90m, 24h or 7d")
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		days, rest = "0", s
	} else if rest == "" {
		rest = "0"
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return wrong
	}
	d, err := time.ParseDuration(rest)
	if err != nil {
		return wrong
	}
	sum := time.Duration(n)*day + d
	if sum < d { // more than a Duration holds
		return wrong
	}
	*p = period(sum)
	return nil
}

// checkURL refuses what no request can be sent to. The message hides a password.
func checkURL(from, text string) error {
	u, err := url.Parse(text)
	if err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") {
		return nil
	}
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		text = "…" + text[i:]
	}
	return fmt.Errorf("%s %q is no URL: use for example http://127.0.0.1:8000", from, text)
}
