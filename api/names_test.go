package api

import (
	"net/url"
	"reflect"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

type (
	URL  struct{}
	View struct{}
)

func TestNames(t *testing.T) {
	name := names()
	for range 2 { // the same at each mention
		for _, test := range []struct {
			of   any
			want string
		}{
			{URL{}, "URL"}, {&URL{}, "URL"}, {url.URL{}, "UrlURL"}, {View{}, "ApiView"}, {huma.Schema{}, "Schema"},
		} {
			if got := name(reflect.TypeOf(test.of), ""); got != test.want {
				t.Errorf("%T is called %s, want %s", test.of, got, test.want)
			}
		}
	}
	if got := name(reflect.TypeFor[struct{ A int }](), "hint"); got != "Hint" {
		t.Errorf("a type without a name is called %s", got)
	}
}
