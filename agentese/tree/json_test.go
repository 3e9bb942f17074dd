package tree

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The JSON of a value is a contract: this is it.
func TestJSON(t *testing.T) {
	v := Value{Path: "world.manifest", Title: "all", State: Bad, Text: "text", Notes: []string{"note"}, Next: []Example{{"world.nats.manifest", "look"}}, Changed: true}
	v.Add("lag", 1500*time.Millisecond, "").Add("mean", time.Minute, "percent").Add("at", noon.In(time.FixedZone("", 7200)), "").Add("never", time.Time{}, "")
	v.Add("none", nil, "").Add("nan", math.NaN(), "").Add("inf", math.Inf(-1), "").Add("n", int64(7), "bytes").Add("f", 0.5, "").Add("yes", true, "").Add("s", "a\x1b", "").Add("state", Well, "")
	v.Fields[0].State, v.Fields[0].Note = Warn, "slow"
	v.Table = &Table{Columns: []Column{{Name: "z"}, {Name: "a", Unit: "seconds", Link: "world.customers.{}"}}, Rows: [][]any{{"x", time.Second}, {}, {nil, noon}}, Total: 9}
	v.Laws = []Law{{"identity >> f = f", Held, ""}, {"f >> identity = f", Moved, "why"}}
	got, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
 "path": "world.manifest",
 "title": "all",
 "state": "error",
 "fields": [
  {
   "name": "lag",
   "value": 1.5,
   "unit": "seconds",
   "state": "degraded",
   "note": "slow"
  },
  {
   "name": "mean",
   "value": 60,
   "unit": "percent"
  },
  {
   "name": "at",
   "value": "2026-03-04T12:00:00Z"
  },
  {
   "name": "never",
   "value": null
  },
  {
   "name": "none",
   "value": null
  },
  {
   "name": "nan",
   "value": null
  },
  {
   "name": "inf",
   "value": null
  },
  {
   "name": "n",
   "value": 7,
   "unit": "bytes"
  },
  {
   "name": "f",
   "value": 0.5
  },
  {
   "name": "yes",
   "value": true
  },
  {
   "name": "s",
   "value": "a\u001b"
  },
  {
   "name": "state",
   "value": "ok"
  }
 ],
 "table": {
  "columns": [
   {
    "name": "z"
   },
   {
    "name": "a",
    "unit": "seconds",
    "link": "world.customers.{}"
   }
  ],
  "rows": [
   {
    "z": "x",
    "a": 1
   },
   {
    "z": null,
    "a": null
   },
   {
    "z": null,
    "a": "2026-03-04T12:00:00Z"
   }
  ],
  "total": 9
 },
 "text": "text",
 "notes": [
  "note"
 ],
 "next": [
  {
   "expr": "world.nats.manifest",
   "line": "look"
  }
 ],
 "laws": [
  {
   "law": "identity \u003e\u003e f = f",
   "verdict": "held"
  },
  {
   "law": "f \u003e\u003e identity = f",
   "verdict": "moved",
   "why": "why"
  }
 ],
 "changed": true
}`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	for _, test := range []struct {
		v    Value
		want string
	}{
		{Value{}, `{}`},
		{Value{Table: &Table{}}, `{"table":{"columns":[],"rows":[]}}`},
		{Value{Fields: []Field{}}, `{}`},
	} {
		if got, err := json.Marshal(test.v); err != nil || string(got) != test.want {
			t.Errorf("%s, %v; want %s", got, err, test.want)
		}
	}
	if _, err := json.Marshal(Value{Table: &Table{Columns: []Column{{Name: "a"}}, Rows: [][]any{{func() {}}}}}); err == nil {
		t.Error("a function has JSON")
	}
}

// An encoder that leaves > as it is gets it as it is, everywhere.
func TestJSONOfPipelines(t *testing.T) {
	v := Value{Path: "a.b >> c.d", Fields: []Field{{Name: "x>", Value: ">>"}}, Table: &Table{Columns: []Column{{Name: ">"}}, Rows: [][]any{{"<&>"}}}}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	const want = `{"path":"a.b >> c.d","fields":[{"name":"x>","value":">>"}],"table":{"columns":[{"name":">"}],"rows":[{">":"<&>"}]}}` + "\n"
	if err := e.Encode(v); err != nil || b.String() != want {
		t.Errorf("%s, %v", b.String(), err)
	}
}

func TestValue(t *testing.T) {
	if Ago(time.Time{}, noon) != nil || Ago(noon.Add(-time.Hour), noon) != time.Hour {
		t.Error("ago is wrong")
	}
	if !(Value{}).Empty() || (Value{Changed: true}).Empty() || everything().Empty() {
		t.Error("empty is wrong")
	}
}
