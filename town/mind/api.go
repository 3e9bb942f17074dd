package mind

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// api is one of the two ways to ask.
type api struct {
	address   func(base string) string
	authorize func(http.Header, string)
	request   func(*Mind, string) ([]byte, error)
	read      func([]byte) (answer, error)
}

// answer is what both have in common. The tokens are 0 if it doesn't say.
type answer struct {
	text    string
	refused bool
	in, out int64
}

var apis = map[string]api{
	OpenAI: {
		address: func(base string) string { return base + "/chat/completions" },
		authorize: func(h http.Header, key string) {
			if key != "" {
				h.Set("Authorization", "Bearer "+key)
			}
		},
		request: openaiRequest, read: openaiAnswer,
	},
	Anthropic: {
		address: func(base string) string { return strings.TrimSuffix(base, "/v1") + "/v1/messages" },
		authorize: func(h http.Header, key string) {
			if key != "" {
				h.Set("X-Api-Key", key)
			}
			h.Set("Anthropic-Version", "2023-06-01")
		},
		request: anthropicRequest, read: anthropicAnswer,
	},
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// openaiRequest names the bound of the answer as most servers know it, until the
// API has said that this model wants the newer name.
func openaiRequest(m *Mind, text string) ([]byte, error) {
	r := struct {
		Model     string    `json:"model"`
		Messages  []message `json:"messages"`
		MaxTokens int       `json:"max_tokens,omitempty"`
		MaxNewer  int       `json:"max_completion_tokens,omitempty"`
	}{Model: m.c.Model, Messages: []message{{"system", system}, {"user", text}}}
	if m.newer.Load() {
		r.MaxNewer = m.c.MaxTokens
	} else {
		r.MaxTokens = m.c.MaxTokens
	}
	return json.Marshal(r)
}

func openaiAnswer(b []byte) (answer, error) {
	var r struct {
		Choices []struct {
			FinishReason string `json:"finish_reason"`
			Message      struct {
				Content string `json:"content"`
				Refusal string `json:"refusal"`
			} `json:"message"`
		} `json:"choices"`
		Usage struct {
			Prompt     int64 `json:"prompt_tokens"`
			Completion int64 `json:"completion_tokens"`
			Total      int64 `json:"total_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return answer{}, err
	}
	if len(r.Choices) == 0 {
		return answer{}, errors.New("no choice")
	}
	c := r.Choices[0]
	return answer{
		text: c.Message.Content, refused: c.Message.Refusal != "" || c.FinishReason == "content_filter",
		// Some servers count what a model thought in the total only.
		in: r.Usage.Prompt, out: max(r.Usage.Completion, r.Usage.Total-r.Usage.Prompt),
	}, nil
}

func anthropicRequest(m *Mind, text string) ([]byte, error) {
	return json.Marshal(struct {
		Model     string    `json:"model"`
		MaxTokens int       `json:"max_tokens"`
		System    string    `json:"system"`
		Messages  []message `json:"messages"`
	}{m.c.Model, m.c.MaxTokens, system, []message{{"user", text}}})
}

func anthropicAnswer(b []byte) (answer, error) {
	var r struct {
		Type    string `json:"type"`
		Content []struct {
			Type string `json:"type"`
			Text string `json:"text"`
		} `json:"content"`
		StopReason string `json:"stop_reason"`
		Usage      struct {
			In         int64 `json:"input_tokens"`
			CacheWrite int64 `json:"cache_creation_input_tokens"`
			CacheRead  int64 `json:"cache_read_input_tokens"`
			Out        int64 `json:"output_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return answer{}, err
	}
	if r.Type != "message" {
		return answer{}, errors.New("no message")
	}
	for _, n := range []int64{r.Usage.In, r.Usage.CacheWrite, r.Usage.CacheRead} { // before they are added up
		if n < 0 || n > maxUsage {
			return answer{}, errors.New("tokens that can't be")
		}
	}
	a := answer{refused: r.StopReason == "refusal", in: r.Usage.In + r.Usage.CacheWrite + r.Usage.CacheRead, out: r.Usage.Out}
	for _, c := range r.Content {
		if c.Type == "text" {
			a.text += c.Text
		}
	}
	return a, nil
}
