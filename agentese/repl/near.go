package repl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kgents/kgents/agentese"
	"github.com/kgents/kgents/agentese/match"
	"github.com/kgents/kgents/agentese/search"
	"github.com/kgents/kgents/agentese/tree"
	"github.com/kgents/kgents/term"
)

// maxOffers is how many expressions are offered at once.
const maxOffers = 5

// nearEnough is from which score on a correction is offered beside what words mean.
const nearEnough = 0.8

// near finds out what a line that is nothing as it stands was meant to be.
func (s *Shell) near(ctx context.Context, line string, out outcome) outcome {
	place, observer := s.Place(), s.session.Observer
	line, may := allowed(line)
	c := s.match.Correct(line, place, observer)
	if (c.Verdict == match.Sure || c.Verdict == match.Exact) && len(c.Candidates) > 0 {
		best := c.Candidates[0]
		if e, err := agentese.Parse(best.Expr); err == nil && !s.changes(e) {
			if _, _, err := s.tree.Resolve(e.Steps[0], s.session); err == nil {
				done := s.run(ctx, e)
				done.said = []string{corrected(best)}
				return done
			}
		}
	}
	words := inWords(line)
	var offers []offer
	found, note := s.consult(ctx, search.Query{Text: line, Place: place, Observer: observer, Limit: maxOffers, Now: s.o.Now()}, may && s.mayAsk())
	if ctx.Err() != nil {
		out.err = context.Canceled
		return out
	}
	sure := len(found) > 0 && found[0].Confident && !found[0].Changes
	if words || c.Verdict == match.None || sure {
		for i, f := range found {
			offers = append(offers, offer{Expr: f.Expr, Line: f.Line, Why: f.Why, Score: f.Score, sure: i == 0 && sure, learned: true})
		}
	}
	corrections := offersOf(s, c)
	if words && len(offers) > 0 {
		// What a question's words look like is no better than what they mean.
		corrections = slices.DeleteFunc(corrections, func(o offer) bool { return o.Score < nearEnough })
		offers = append(offers, corrections...)
	} else {
		offers = append(corrections, offers...)
	}
	offers = distinct(offers)
	if len(offers) == 0 {
		e, _ := errors.AsType[*agentese.Error](out.err)
		return s.hinted(ctx, out, e, line)
	}
	if s.o.Auto && offers[0].sure {
		return s.take(ctx, line, offers[0], false)
	}
	if s.ask == nil {
		e, _ := errors.AsType[*agentese.Error](out.err)
		if note != "" {
			out.said = append(out.said, note)
		}
		out.offers = offers
		return s.hinted(ctx, out, e, line)
	}
	return s.pick(ctx, line, offers, note, out)
}

// corrected says what was changed.
func corrected(c match.Candidate) string {
	if c.Why == "" {
		return c.Expr
	}
	return c.Why + "   " + c.Expr
}

// offersOf are the corrections as offers, with what each shows.
func offersOf(s *Shell, c match.Correction) []offer {
	if c.Verdict == match.None {
		return nil
	}
	out := make([]offer, 0, len(c.Candidates))
	for _, x := range c.Candidates {
		out = append(out, offer{Expr: x.Expr, Line: s.lineOf(x.Expr), Why: x.Why, Score: x.Score})
	}
	return out
}

// lineOf is what the last step of an expression shows or does.
func (s *Shell) lineOf(text string) string {
	e, err := agentese.Parse(text)
	if err != nil {
		return ""
	}
	step := e.Steps[len(e.Steps)-1]
	p, _, _, depth := s.tree.Find(step.Texts())
	if depth < len(step.Names) {
		return ""
	}
	if a, ok := p.Node.Affordance(agentese.Aspect(step.Aspect.Text)); ok {
		return a.Line
	}
	return p.Node.Line
}

func distinct(offers []offer) []offer {
	var out []offer
	for _, o := range offers {
		if !slices.ContainsFunc(out, func(p offer) bool { return p.Expr == o.Expr }) {
			out = append(out, o)
		}
	}
	return out[:min(len(out), maxOffers)]
}

// inWords says whether a line is more like a question than like a path.
func inWords(line string) bool {
	return len(strings.Fields(line)) > 1 && !strings.ContainsAny(line, "[]@/>") && !strings.Contains(strings.TrimRight(line, ".?! "), ".") || strings.HasSuffix(strings.TrimSpace(line), "?")
}

// pick has the person say which one it is.
func (s *Shell) pick(ctx context.Context, line string, offers []offer, note string, out outcome) outcome {
	title := "Did you mean"
	if offers[0].learned {
		title = "This may show it"
	}
	title = s.style.Strong(title)
	if note != "" {
		title += s.style.Faint("   " + printable(note))
	}
	s.say(title)
	widest := 0
	for _, o := range offers {
		widest = max(widest, term.Width(o.Expr))
	}
	for i, o := range offers {
		text := fmt.Sprintf("  %s  %s", s.style.Strong(strconv.Itoa(i+1)), term.Pad(printable(o.Expr), min(widest, 60)))
		if e, err := agentese.Parse(o.Expr); err == nil && s.changes(e) {
			text += "  " + s.style.Warn("changes something")
		}
		text += "  " + s.style.Faint(printable(firstOf(o.Why, o.Line)))
		if w := s.width(); w > 0 {
			text = term.Cut(text, w)
		}
		s.say(text)
	}
	question := fmt.Sprintf("1 to %d, or Enter for none › ", len(offers))
	if len(offers) == 1 {
		question = "1, or Enter for none › "
	}
	if offers[0].sure {
		question = "Enter or 1 to " + strconv.Itoa(len(offers)) + ", n for none › "
	}
	answer, err := s.ask(ctx, question)
	if err != nil {
		out.err = context.Canceled
		return out
	}
	answer = strings.TrimSpace(answer)
	if answer == "" && offers[0].sure {
		answer = "1"
	}
	if strings.EqualFold(answer, "y") && len(offers) == 1 {
		answer = "1"
	}
	n, err := strconv.Atoi(answer)
	if err != nil && len(answer) > 1 && !strings.EqualFold(answer, "no") && !strings.EqualFold(answer, "none") {
		s.begun = answer // it was meant as the next line, and is shown as that before it is run
	}
	if err != nil || n < 1 || n > len(offers) {
		return outcome{said: []string{errNone.Error()}, none: true}
	}
	return s.take(ctx, line, offers[n-1], true)
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// take runs what was picked. What changes something is asked about in any case: a
// pick is no consent. A pick that was a person's is kept for the next sessions.
func (s *Shell) take(ctx context.Context, line string, o offer, person bool) outcome {
	e, err := agentese.Parse(o.Expr)
	if err != nil {
		return outcome{err: err}
	}
	if strings.Contains(o.Expr, `"<`) && strings.Contains(o.Expr, `>"`) {
		if s.ask == nil {
			return outcome{err: &agentese.Error{Kind: agentese.KindClause, What: "the name between < and > is to be filled in", Try: []string{o.Expr}}}
		}
		s.begun = o.Expr
		return outcome{said: []string{"put the name where < and > are"}}
	}
	if o.learned {
		s.learn(line, o.Expr, person)
	}
	if s.changes(e) {
		yes := s.session.Yes
		s.session.Yes = false
		defer func() { s.session.Yes = yes }()
		if e, err = agentese.Parse(unagreed(o.Expr)); err != nil {
			return outcome{err: err}
		}
	}
	out := s.run(ctx, e)
	out.said = []string{o.Expr}
	return out
}

// unagreed is an expression without [yes]; what is none is left as it is.
func unagreed(expr string) string {
	e, err := agentese.Parse(expr)
	if err != nil {
		return expr
	}
	for i := range e.Steps {
		e.Steps[i].Clauses = slices.DeleteFunc(e.Steps[i].Clauses, func(c agentese.Clause) bool { return strings.EqualFold(c.Key, "yes") })
	}
	return e.String()
}

// changes says whether an expression would change something, and in doubt it does.
func (s *Shell) changes(e agentese.Expression) bool {
	all := &tree.Session{Observer: tree.Admin, Clock: s.o.Now}
	for _, step := range e.Steps {
		_, a, err := s.tree.Resolve(step, all)
		if err != nil || a.Change != nil {
			return true
		}
		if of, _ := step.Clause("of"); a.Aspect == agentese.Sip && of.Value == "fault" {
			return true
		}
	}
	return false
}

// hinted makes a mistake the error of what a line came to, with what is near: five
// paths at most.
func (s *Shell) hinted(ctx context.Context, out outcome, e *agentese.Error, line string) outcome {
	out.err = e
	if len(e.Related) > 0 || e.Kind == agentese.KindDenied || e.Kind == agentese.KindObserver || e.Kind == agentese.KindAway {
		return out
	}
	if s.strict && s.names.Snapshot().Generation == 0 {
		// A script has not waited for the live names until now.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		s.refresh(ctx)
		cancel()
	}
	near := *e
	out.err = &near
	line, may := allowed(line)
	q := search.Query{Text: line, Place: s.Place(), Observer: s.session.Observer, Limit: 3, Now: s.o.Now()}
	if s.strict && s.o.AskModel && s.o.Model != nil && spoken(line) && len(out.offers) == 0 && e.Kind != agentese.KindClause {
		found, note := s.consult(ctx, q, may)
		if note != "" {
			out.said = append(out.said, note)
		}
		for _, f := range found {
			near.Related = append(near.Related, f.Expr)
		}
	}
	for _, c := range s.match.Correct(line, s.Place(), s.session.Observer).Candidates {
		// What was agreed to is what was written, and not what is near.
		if expr := unagreed(c.Expr); !slices.Contains(near.Related, expr) && len(near.Related) < maxOffers {
			near.Related = append(near.Related, expr)
		}
	}
	if len(near.Related) == 0 && e.Kind != agentese.KindClause {
		for _, f := range s.search.Find(context.WithoutCancel(ctx), q) {
			near.Related = append(near.Related, f.Expr)
		}
	}
	return out
}

// confirm shows what a change would do, and asks. What can't be undone is confirmed
// by a word that nobody types by habit.
func (s *Shell) confirm(ctx context.Context, p tree.Preview) (bool, error) {
	s.say("")
	s.say(s.style.Strong("This would"))
	for i, line := range p.Does {
		if i == 12 {
			s.say(s.style.Faint(fmt.Sprintf("  … and %d more: [dry_run=true] shows all", len(p.Does)-i)))
			break
		}
		s.say("  " + printable(line))
	}
	for _, w := range p.Warnings {
		s.say(s.style.Warn("  ! " + printable(w)))
	}
	question, word := "Do it? y/N › ", ""
	switch {
	case p.Rollback > 0:
		s.say(s.style.Faint("  it is undone by itself if it doesn't hold within " + term.Duration(p.Rollback)))
	case p.CanUndo:
		s.say(s.style.Faint("  it can be undone; with [rollback=1m] it is, by itself, if it doesn't hold"))
	default:
		word = wordOf(p.Text)
		s.say(s.style.Bad("  it can't be undone") + s.style.Faint(": "+printable(firstOf(p.Final, "there is no way back"))))
		question = "Type " + word + " to do it › "
	}
	answer, err := s.ask(ctx, question)
	if err != nil {
		return false, nil // Ctrl-C and the end of the input are a no
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	if word != "" {
		return answer == word, nil
	}
	return answer == "y" || answer == "yes", nil
}

// wordOf is what confirms a step that can't be undone: what it does.
func wordOf(text string) string {
	if e, err := agentese.Parse(text); err == nil {
		if do, ok := e.Steps[0].Clause("do"); ok && do.Value != "" && strings.IndexFunc(do.Value, func(r rune) bool { return r < 'a' || r > 'z' }) < 0 {
			return do.Value
		}
	}
	return "yes"
}
