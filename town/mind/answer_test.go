package mind

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kgents/kgents/town"
)

// What the model is told, word for word.
func TestPrompt(t *testing.T) {
	got := prompt(town.Situation{
		Town: "of-a-customer", Day: 3, Phase: "evening", Region: "inn",
		Actor:   town.Person{Name: "Fiona", Archetype: "sage", Mood: "content"},
		Present: []town.Person{{Name: "Bob", Archetype: "builder", Mood: "calm", View: -.26}, {Name: "Clara", Archetype: "explorer", Mood: "cheerful", View: .9}},
		Options: []town.Option{
			{Operation: town.Trade, Participants: []string{"Fiona", "Clara"}},
			{Operation: town.Solo, Participants: []string{"Fiona"}},
			{Operation: town.Greet, Participants: []string{"Fiona", "Bob"}},
			{Operation: town.Gossip, Participants: []string{"Fiona", "Bob"}, Subject: "Clara"},
			{Operation: town.Teach, Participants: []string{"Fiona", "Bob"}},
			{Operation: town.Dispute, Participants: []string{"Fiona", "Bob"}},
			{Operation: town.Celebrate, Participants: []string{"Bob", "Clara", "Fiona"}},
		},
	})
	want := `It is the evening of day 3. You are Fiona, sage; your mood: content. You are in the inn.
Here is Bob, builder; mood: calm; you feel -0.3 about them (-1 to 1).
Here is Clara, explorer; mood: cheerful; you feel +0.9 about them (-1 to 1).
Options:
1. trade with Clara
2. be alone with your thoughts
3. greet Bob
4. gossip with Bob about Clara
5. teach Bob
6. dispute with Bob
7. celebrate with Bob, Clara
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Whatever an API answers, it is refused or it is an answer whose tokens can be
// billed: none is negative, and sums don't overflow.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"choices":[{"finish_reason":"stop","message":{"content":"2","refusal":null}}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}`))
	f.Add([]byte(`{"type":"message","content":[{"type":"text","text":"2"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}`))
	f.Add([]byte(`{"choices":[{}],"usage":{"prompt_tokens":-9223372036854775808,"total_tokens":9223372036854775807}}`))
	f.Add([]byte(`{"type":"message","usage":{"input_tokens":9223372036854775807,"cache_read_input_tokens":9223372036854775807}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, a := range apis {
			got, err := a.read(b)
			if err != nil {
				continue
			}
			if usable(got) && (got.in < 0 || got.out < 0 || got.in > math.MaxInt64-got.out) {
				t.Errorf("%+v", got)
			}
			if n, ok := number(got.text); ok && n < 0 {
				t.Errorf("%q is %d", got.text, n)
			}
		}
	})
}
