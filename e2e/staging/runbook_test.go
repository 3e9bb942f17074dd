//go:build cluster

package staging

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const runbook = root + "/docs/saas/runbook.md"

var (
	headings = regexp.MustCompile(`(?m)^#+ (.+)$`)
	blocks   = regexp.MustCompile("(?s)```sh(?: cluster)?\n(.*?)```")
)

// commands are the blocks of commands of a section of the runbook.
func (c *cluster) commands(section string) (out []string) {
	c.Helper()
	b, err := os.ReadFile(runbook)
	if err != nil {
		c.Fatal(err)
	}
	text := string(b)
	all := headings.FindAllStringSubmatchIndex(text, -1)
	for i, h := range all {
		if text[h[2]:h[3]] != section {
			continue
		}
		end := len(text)
		if i+1 < len(all) {
			end = all[i+1][0]
		}
		for _, block := range blocks.FindAllStringSubmatch(text[h[1]:end], -1) {
			out = append(out, block[1])
		}
	}
	if len(out) == 0 {
		c.Fatalf("%s has no commands under %q", runbook, section)
	}
	return out
}

// follow does what a section of the runbook says, all of it. The deployment takes
// the image that is on the nodes already.
func (c *cluster) follow(section string, env ...string) {
	c.Helper()
	for _, block := range c.commands(section) {
		c.shell(block, env...)
	}
}

func (c *cluster) shell(commands string, env ...string) {
	c.Helper()
	bin, err := filepath.Abs(root + "/bin")
	if err != nil {
		c.Fatal(err)
	}
	commands = strings.ReplaceAll(commands, "deploy-staging.sh\n", "deploy-staging.sh --no-verify --image "+nextImage+"\n")
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", commands)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), append(env, "NS="+namespace, "PATH="+bin+":"+os.Getenv("PATH"))...)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.Fatalf("%s\n%v\n%s", commands, err, out)
	}
}
