package api

import (
	"github.com/danielgtaylor/huma/v2"

	"github.com/kgents/kgents"
)

// Limit is a kgents.Limit in an answer: a number, or the word "unlimited".
type Limit struct{ kgents.Limit }

// Schema describes it in the document.
func (Limit) Schema(huma.Registry) *huma.Schema {
	zero := 0.0
	return &huma.Schema{OneOf: []*huma.Schema{
		{Type: huma.TypeInteger, Format: "int64", Minimum: &zero},
		{Type: huma.TypeString, Enum: []any{kgents.Unlimited}},
	}, Description: `A whole number of 0 or more, or the word "unlimited"`}
}
