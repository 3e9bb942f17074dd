package main

import (
	"encoding/json"
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
	"github.com/kgents/kgents/subscription"
	"github.com/kgents/kgents/term"
)

// mostShown is the most customers that one run shows.
const mostShown = 10_000

func newCustomerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "customer",
		Short: "Who is billed: list, make and change customers, and see why one has its plan",
		Long: `Customers are who is billed. The id of one is the subject of its usage events.

What a customer has subscribed to comes from Stripe's webhooks alone. A Stripe
customer that nobody claims becomes a customer whose id is Stripe's, marked as found;
'create' or 'set' with --stripe-customer takes it over with all that is known of it.

These commands need an operator's key, but for 'show', which a customer's key may ask
about itself.`,
		Example: `  kgents customer create acme --name "Acme Inc."
  kgents customer list
  kgents customer show acme
  kgents customer set acme --plan pro
  kgents customer delete acme --yes`,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCustomerListCommand(), newCustomerCreateCommand(), newCustomerShowCommand(), newCustomerSetCommand(), newCustomerDeleteCommand())
	return cmd
}

// asks is the flags of a command that asks the routes of customers and keys.
func asks(cmd *cobra.Command, v *v1) *cobra.Command {
	v.target.addFlags(cmd)
	v.addOutput(cmd)
	return cmd
}

// oneArg wants the one thing that a command is about.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 && args[0] != "" {
			return nil
		}
		return fmt.Errorf("name one %s: see '%s --help'", what, cmd.CommandPath())
	}
}

// show writes v as JSON, or by table.
func show(cmd *cobra.Command, output string, v any, table func(w io.Writer)) error {
	w := cmd.OutOrStdout()
	if output != "json" {
		table(w)
		return nil
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func pathOf(id string) string { return "/v1/customers/" + url.PathEscape(id) }

func newCustomerListCommand() *cobra.Command {
	var (
		v      v1
		limit  int
		stripe string
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List customers, in the order of their ids",
		Example: `  kgents customer list
  kgents customer list --stripe-customer cus_demo0001 --output json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > mostShown {
				return fmt.Errorf("--limit must be from 1 to %d", mostShown)
			}
			if err := v.begin(); err != nil {
				return err
			}
			all, more := []customer.CustomerView{}, false
			for query := (url.Values{}); ; {
				if stripe != "" {
					query.Set("stripe_customer", stripe)
				}
				query.Set("limit", strconv.Itoa(min(limit-len(all), customer.MaxPage)))
				var page customer.CustomerPage
				if err := v.do(cmd.Context(), http.MethodGet, "/v1/customers", query, nil, &page); err != nil {
					return err
				}
				all = append(all, page.Customers...)
				if more = page.Next != ""; !more || len(all) >= limit {
					break
				}
				query.Set("after", page.Next)
			}
			if more {
				fmt.Fprintf(cmd.ErrOrStderr(), "There are more than these %d: use --limit.\n", len(all))
			}
			return show(cmd, v.output, all, func(w io.Writer) { printCustomers(w, all) })
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 1000, "the most to list")
	cmd.Flags().StringVar(&stripe, "stripe-customer", "", "only the one that this Stripe customer is")
	words(cmd, "stripe-customer")
	return asks(cmd, &v)
}

func newCustomerCreateCommand() *cobra.Command {
	var (
		v    v1
		body customer.NewCustomer
	)
	cmd := &cobra.Command{
		Use:   "create ID",
		Short: "Make a customer",
		Long: `Make a customer. The id has 1 to 63 letters, digits, - and _, and is the subject of
its usage events: it can't be changed.`,
		Example: `  kgents customer create acme --name "Acme Inc."
  kgents customer create acme --stripe-customer cus_demo0001
  kgents customer create friend --plan pro`,
		Args: oneArg("customer by its id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := v.begin(); err != nil {
				return err
			}
			body.ID = args[0]
			var c customer.CustomerView
			if err := v.do(cmd.Context(), http.MethodPost, "/v1/customers", nil, body, &c); err != nil {
				return err
			}
			return show(cmd, v.output, c, func(w io.Writer) { printCustomers(w, []customer.CustomerView{c}) })
		},
	}
	cmd.Flags().StringVar(&body.Name, "name", "", "what to call it")
	cmd.Flags().StringVar(&body.Stripe, "stripe-customer", "", "the Stripe customer that pays for it")
	cmd.Flags().StringVar(&body.Override, "plan", "", "a plan to have whatever is paid")
	for _, flag := range []string{"name", "stripe-customer", "plan"} {
		words(cmd, flag)
	}
	return asks(cmd, &v)
}

func newCustomerShowCommand() *cobra.Command {
	var v v1
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a customer and why it has its plan, event by event",
		Example: `  kgents customer show acme
  kgents customer show acme --output json`,
		Args: oneArg("customer by its id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := v.begin(); err != nil {
				return err
			}
			var c customer.CustomerView
			if err := v.do(cmd.Context(), http.MethodGet, pathOf(args[0]), nil, nil, &c); err != nil {
				return err
			}
			if err := v.do(cmd.Context(), http.MethodGet, pathOf(args[0])+"/explain", nil, nil, &c.Standing); err != nil {
				return err
			}
			return show(cmd, v.output, c, func(w io.Writer) { printCustomer(w, c) })
		},
	}
	return asks(cmd, &v)
}

func newCustomerSetCommand() *cobra.Command {
	var (
		v                  v1
		name, stripe, plan string
		revision           uint64
	)
	cmd := &cobra.Command{
		Use:   "set ID",
		Short: "Change a customer",
		Long: `Change what flags name, and leave the rest. --plan is a plan to have whatever is
paid, and --plan none ends that. With --revision, as 'show' tells it, nothing is done
if somebody has changed the customer since.`,
		Example: `  kgents customer set acme --name "Acme Ltd."
  kgents customer set acme --plan pro
  kgents customer set acme --plan none --revision 17`,
		Args: oneArg("customer by its id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var body customer.CustomerChange
			for flag, to := range map[string]struct {
				value *string
				field **string
			}{"name": {&name, &body.Name}, "stripe-customer": {&stripe, &body.Stripe}, "plan": {&plan, &body.Override}} {
				if cmd.Flags().Changed(flag) {
					*to.field = to.value
				}
			}
			if plan == "none" {
				plan = ""
			}
			if body == (customer.CustomerChange{}) {
				return fmt.Errorf("say what to change: --name, --stripe-customer or --plan, see '%s --help'", cmd.CommandPath())
			}
			if err := v.begin(); err != nil {
				return err
			}
			var c customer.CustomerView
			if err := v.match(cmd, http.MethodPatch, pathOf(args[0]), nil, body, revision, &c); err != nil {
				return err
			}
			return show(cmd, v.output, c, func(w io.Writer) { printCustomers(w, []customer.CustomerView{c}) })
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "what to call it")
	cmd.Flags().StringVar(&stripe, "stripe-customer", "", "the Stripe customer that pays for it; once set it stays")
	cmd.Flags().StringVar(&plan, "plan", "", "a plan to have whatever is paid, or none")
	cmd.Flags().Uint64Var(&revision, "revision", 0, "only if this is its revision still")
	for _, flag := range []string{"name", "stripe-customer", "plan", "revision"} {
		words(cmd, flag)
	}
	return asks(cmd, &v)
}

func newCustomerDeleteCommand() *cobra.Command {
	var (
		v          v1
		yes, force bool
	)
	cmd := &cobra.Command{
		Use:   "delete ID",
		Short: "Delete a customer and its API keys",
		Long: `Delete a customer and its API keys, which open nothing from then on. What was used
stays counted. One that has a subscription is not deleted, since Stripe would go on to
charge for it: cancel that first, or add --force.`,
		Example: `  kgents customer delete acme --yes
  kgents customer delete acme --yes --force`,
		Args: oneArg("customer by its id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return errors.New("delete ends a customer and its keys for ever: add --yes to do so")
			}
			if err := v.begin(); err != nil {
				return err
			}
			query := url.Values{}
			if force {
				query.Set("force", "true")
			}
			if err := v.do(cmd.Context(), http.MethodDelete, pathOf(args[0]), query, nil, nil); err != nil {
				return err
			}
			return show(cmd, v.output, map[string]string{"deleted": args[0]}, func(w io.Writer) { fmt.Fprintf(w, "%s is deleted.\n", args[0]) })
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "yes, delete it for ever")
	cmd.Flags().BoolVar(&force, "force", false, "also if it has a subscription")
	return asks(cmd, &v)
}

// match is do for a change that rests on a revision, 0 for any.
func (v *v1) match(cmd *cobra.Command, method, path string, query url.Values, body any, revision uint64, out any) error {
	req, err := v.request(cmd.Context(), method, path, query, body)
	if err != nil {
		return err
	}
	if revision != 0 {
		req.Header.Set("If-Match", strconv.Quote(strconv.FormatUint(revision, 10)))
	}
	return v.send(req, out)
}

func printCustomers(w io.Writer, all []customer.CustomerView) {
	if len(all) == 0 {
		fmt.Fprintln(w, "There are no customers like that.")
		return
	}
	s := term.StyleFor(w)
	var rows [][]string
	for _, c := range all {
		plan := c.Standing.Plan
		if c.Override != "" {
			plan += " (set)"
		}
		stripe := c.Stripe
		if c.Found {
			stripe += " (found)"
		}
		rows = append(rows, []string{c.ID, printable(c.Name), plan, statusText(s, c.Standing.Status), stripe, timeText(c.Created)})
	}
	term.Table(w, s, []term.Column{{Title: "ID"}, {Title: "NAME"}, {Title: "PLAN"}, {Title: "STATUS"}, {Title: "STRIPE"}, {Title: "CREATED"}}, rows)
}

func statusText(s term.Style, status string) string {
	switch status {
	case subscription.StatusActive, subscription.StatusTrialing:
		return s.Good(status)
	case subscription.StatusPastDue, subscription.StatusUnpaid:
		return s.Bad(status)
	}
	return status
}

// timeText is a time to the second, in UTC, or nothing.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func printCustomer(w io.Writer, c customer.CustomerView) {
	s := term.StyleFor(w)
	st := c.Standing
	rows := [][]string{{"id", c.ID}}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	add("name", printable(c.Name))
	add("plan", s.Strong(st.Plan))
	add("set by the operator", c.Override)
	add("status", statusText(s, st.Status))
	add("subscription", st.Subscription)
	if st.Quantity > 1 {
		add("quantity", strconv.FormatInt(st.Quantity, 10))
	}
	add("period", timeText(st.PeriodStart)+" to "+timeText(st.PeriodEnd))
	add("trial until", timeText(st.TrialEnd))
	add("grace until", timeText(st.GraceEnd))
	add("ends", timeText(st.CancelAt))
	stripe := c.Stripe
	if c.Found {
		stripe += ", which nobody has claimed"
	}
	add("Stripe customer", stripe)
	add("created", timeText(c.Created))
	add("revision", strconv.FormatUint(c.Revision, 10))
	term.Table(w, s, []term.Column{{Title: "CUSTOMER"}, {Title: ""}}, rows)
	if len(st.Why) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", s.Strong("Why, event by event:"))
	var why [][]string
	for _, step := range st.Why {
		why = append(why, []string{timeText(step.At), printable(step.Event), printable(step.Text)})
	}
	term.Table(w, s, []term.Column{{Title: "TIME"}, {Title: "EVENT"}, {Title: "WHAT IT MEANS"}}, why)
}

// scopesText are a key's scopes, with commas.
func scopesText(scopes []root.Scope) (text string) {
	for i, scope := range scopes {
		if i > 0 {
			text += ","
		}
		text += string(scope)
	}
	return text
}
