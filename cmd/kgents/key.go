package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	root "github.com/kgents/kgents"
	"github.com/kgents/kgents/customer"
	"github.com/kgents/kgents/term"
)

func newKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "API keys of customers and of the operator: make, rotate and revoke them",
		Long: `An API key is kg_<prefix>_<secret>. The prefix names it; the secret is shown once,
by the command that makes it, and kept nowhere. A key is bound to a customer, for whom
it sends, reads and manages keys as its scopes say, or it is the operator's.

A rotated key has a new secret under its prefix; the old secret is good for a while,
so that nothing fails while the new one is spread. A revoked key opens nothing: on
every replica within a second.

With a customer's key of the scope admin these commands are about that customer. With
an operator's key, --customer or --operator says whose keys are meant.`,
		Example: `  kgents key create --customer acme --scope ingest --name "agent runner"
  kgents key list --customer acme
  kgents key rotate k3jq2m5xta --overlap 1h
  kgents key revoke k3jq2m5xta`,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeyListCommand(), newKeyCreateCommand(), newKeyRotateCommand(), newKeyRevokeCommand())
	return cmd
}

// whoseKeys are the flags that say whose keys are meant.
type whoseKeys struct {
	customer string
	operator bool
}

func (k *whoseKeys) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.customer, "customer", "", "whose key; with a customer's key its own")
	cmd.Flags().BoolVar(&k.operator, "operator", false, "a key of the operator's")
	words(cmd, "customer")
	cmd.MarkFlagsMutuallyExclusive("customer", "operator")
}

func newKeyListCommand() *cobra.Command {
	var (
		v     v1
		whose whoseKeys
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List API keys, without their secrets",
		Example: `  kgents key list --customer acme
  kgents key list --operator --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := v.begin(); err != nil {
				return err
			}
			query := url.Values{"limit": {strconv.Itoa(customer.MaxPage)}}
			if whose.customer != "" {
				query.Set("customer", whose.customer)
			}
			if whose.operator {
				query.Set("operator", "true")
			}
			all := []customer.KeyView{}
			for {
				var page customer.KeyPage
				if err := v.do(cmd.Context(), http.MethodGet, "/v1/keys", query, nil, &page); err != nil {
					return err
				}
				all = append(all, page.Keys...)
				if page.Next == "" || len(page.Keys) == 0 {
					break
				}
				query.Set("after", page.Next)
			}
			return show(cmd, v.output, all, func(w io.Writer) { printKeys(w, all) })
		},
	}
	whose.addFlags(cmd)
	return asks(cmd, &v)
}

func newKeyCreateCommand() *cobra.Command {
	var (
		v       v1
		whose   whoseKeys
		name    string
		scopes  []string
		expires = period(0)
	)
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an API key, and show it for the only time",
		Long: `Make an API key. The whole key is written to stdout, alone, and can't be shown
again; what it is follows on stderr.`,
		Example: `  kgents key create --customer acme --scope ingest
  kgents key create --customer acme --scope ingest --scope read --name "agent runner" --expires 90d
  kgents key create --operator --scope read --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(scopes) == 0 {
				return errors.New("say what the key may be used for: --scope ingest, --scope read or --scope admin, which implies both")
			}
			if err := v.begin(); err != nil {
				return err
			}
			body := customer.NewKey{Customer: whose.customer, Operator: whose.operator, Name: name}
			for _, scope := range scopes {
				body.Scopes = append(body.Scopes, root.Scope(scope))
			}
			if expires > 0 {
				body.Expires = time.Now().UTC().Add(time.Duration(expires)).Truncate(time.Second)
			}
			var k customer.KeyView
			if err := v.do(cmd.Context(), http.MethodPost, "/v1/keys", nil, body, &k); err != nil {
				return err
			}
			return showKey(cmd, v.output, k)
		},
	}
	whose.addFlags(cmd)
	fl := cmd.Flags()
	fl.StringVar(&name, "name", "", "what it is for")
	fl.StringSliceVar(&scopes, "scope", nil, "what it may be used for: ingest, read or admin; may be repeated")
	fl.Var(&expires, "expires", "when it ends, for example 90d; else never")
	words(cmd, "name")
	words(cmd, "expires")
	words(cmd, "scope", "ingest", "read", "admin")
	return asks(cmd, &v)
}

func newKeyRotateCommand() *cobra.Command {
	var (
		v       v1
		overlap = period(customer.DefaultOverlap)
	)
	cmd := &cobra.Command{
		Use:   "rotate PREFIX",
		Short: "Give an API key a new secret, and show it for the only time",
		Long: `Give an API key a new secret. The old one is good for --overlap more; with
--overlap 0s every old secret ends at once, which is for one that has leaked.`,
		Example: `  kgents key rotate k3jq2m5xta
  kgents key rotate k3jq2m5xta --overlap 0s`,
		Args: oneArg("key by its prefix"),
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix, err := prefixOf(args[0])
			if err != nil {
				return err
			}
			if err := v.begin(); err != nil {
				return err
			}
			var k customer.KeyView
			body := customer.Rotation{Overlap: time.Duration(overlap).String()}
			if err := v.do(cmd.Context(), http.MethodPost, "/v1/keys/"+prefix+"/rotate", nil, body, &k); err != nil {
				return err
			}
			return showKey(cmd, v.output, k)
		},
	}
	cmd.Flags().Var(&overlap, "overlap", "how long the old secret is good, 30d at most")
	words(cmd, "overlap")
	return asks(cmd, &v)
}

func newKeyRevokeCommand() *cobra.Command {
	var v v1
	cmd := &cobra.Command{
		Use:     "revoke PREFIX",
		Short:   "Revoke an API key",
		Example: `  kgents key revoke k3jq2m5xta`,
		Args:    oneArg("key by its prefix"),
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix, err := prefixOf(args[0])
			if err != nil {
				return err
			}
			if err := v.begin(); err != nil {
				return err
			}
			if err := v.do(cmd.Context(), http.MethodDelete, "/v1/keys/"+prefix, nil, nil, nil); err != nil {
				return err
			}
			return show(cmd, v.output, map[string]string{"revoked": prefix}, func(w io.Writer) { fmt.Fprintf(w, "%s is revoked.\n", prefix) })
		},
	}
	return asks(cmd, &v)
}

// prefixOf is the prefix that an argument is. A whole key is refused without showing it:
// it would stand in the shell's history, and in a proxy's log of URLs.
func prefixOf(arg string) (string, error) {
	if !customer.ValidPrefix(arg) {
		return "", errors.New("a key is named by its prefix, the 10 letters and digits between kg_ and the secret: see 'kgents key list'")
	}
	return arg, nil
}

// showKey writes a key that was made: as a table, the whole key alone to stdout.
func showKey(cmd *cobra.Command, output string, k customer.KeyView) error {
	return show(cmd, output, k, func(w io.Writer) {
		fmt.Fprintln(w, k.Key)
		whole := k.Key
		k.Key = ""
		printKeys(cmd.ErrOrStderr(), []customer.KeyView{k})
		if whole != "" {
			fmt.Fprintln(cmd.ErrOrStderr(), "\nThis is the only time that the key is shown: put it where it belongs now.")
		}
	})
}

func printKeys(w io.Writer, all []customer.KeyView) {
	if len(all) == 0 {
		fmt.Fprintln(w, "There are no API keys.")
		return
	}
	s := term.StyleFor(w)
	var rows [][]string
	for _, k := range all {
		owner := k.Customer
		if k.Operator {
			owner = "the operator"
		}
		ends, used := timeText(k.Expires), timeText(k.LastUsed)
		if ends == "" {
			ends = "never"
		}
		if used == "" {
			used = "never"
		}
		rows = append(rows, []string{k.Prefix, owner, scopesText(k.Scopes), printable(k.Name), ends, used, timeText(k.Overlap)})
	}
	term.Table(w, s, []term.Column{{Title: "PREFIX"}, {Title: "CUSTOMER"}, {Title: "SCOPES"}, {Title: "NAME"}, {Title: "EXPIRES"}, {Title: "LAST USED"}, {Title: "OLD SECRET UNTIL"}}, rows)
}
