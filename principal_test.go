package kgents_test

import (
	"testing"

	"github.com/kgents/kgents"
)

func TestScopes(t *testing.T) {
	for _, test := range []struct {
		has  []kgents.Scope
		want map[kgents.Scope]bool
	}{
		{nil, map[kgents.Scope]bool{kgents.ScopeIngest: false, kgents.ScopeRead: false, kgents.ScopeAdmin: false}},
		{[]kgents.Scope{kgents.ScopeIngest}, map[kgents.Scope]bool{kgents.ScopeIngest: true, kgents.ScopeRead: false, kgents.ScopeAdmin: false}},
		{[]kgents.Scope{kgents.ScopeRead}, map[kgents.Scope]bool{kgents.ScopeIngest: false, kgents.ScopeRead: true, kgents.ScopeAdmin: false}},
		{[]kgents.Scope{kgents.ScopeAdmin}, map[kgents.Scope]bool{kgents.ScopeIngest: true, kgents.ScopeRead: true, kgents.ScopeAdmin: true}},
		{kgents.Scopes(), map[kgents.Scope]bool{kgents.ScopeIngest: true, kgents.ScopeRead: true, kgents.ScopeAdmin: true}},
		{[]kgents.Scope{"ADMIN", ""}, map[kgents.Scope]bool{kgents.ScopeIngest: false, kgents.ScopeRead: false, kgents.ScopeAdmin: false}},
	} {
		p := kgents.Principal{Key: "k", Scopes: test.has}
		for scope, want := range test.want {
			err := p.Require(scope)
			if p.May(scope) != want || (err == nil) != want {
				t.Errorf("a key with %q may %s: %t (%v), want %t", test.has, scope, p.May(scope), err, want)
			}
			if err != nil && kgents.ErrorCode(err) != kgents.CodeForbidden {
				t.Errorf("the error's code is %s", kgents.ErrorCode(err))
			}
		}
	}
}

// Nobody is nobody: the zero value is no operator, though it has no customer either.
func TestOnlyAKeyMakesAnOperator(t *testing.T) {
	for _, test := range []struct {
		p    kgents.Principal
		want bool
	}{
		{kgents.Principal{}, false},
		{kgents.Principal{Scopes: kgents.Scopes()}, false},
		{kgents.Principal{Key: "API_KEYS 1"}, true},
		{kgents.Principal{Key: "kg_1", Customer: "c"}, false},
	} {
		if test.p.Operator() != test.want {
			t.Errorf("%+v is an operator: %t", test.p, !test.want)
		}
	}
}

func TestWhomARequestIsAbout(t *testing.T) {
	for _, test := range []struct {
		bound, asked, want string
		code               kgents.Code
	}{
		{"", "", "", kgents.CodeInvalid},
		{"", "a", "a", ""},
		{"a", "", "a", ""},
		{"a", "a", "a", ""},
		{"a", "b", "", kgents.CodeForbidden},
		{"a", "A", "", kgents.CodeForbidden},
		{"a", " a", "", kgents.CodeForbidden},
		{"a", "a\x00", "", kgents.CodeForbidden},
	} {
		got, err := kgents.Principal{Key: "k", Customer: test.bound}.For(test.asked)
		if got != test.want || kgents.ErrorCode(err) != test.code {
			t.Errorf("a key of %q that asks for %q gets %q (%v), want %q (%s)", test.bound, test.asked, got, err, test.want, test.code)
		}
	}
}
