package cloudevents

import (
	"fmt"

	"github.com/kgents/kgents"
)

const (
	// MaxEvents bounds the events of one request. Fifty thousand of the shortest are
	// 3.3 MB of JSON and 30 MB of memory while they are at work.
	MaxEvents = 50_000

	// maxScanned bounds one event before it is read: reading keeps all names of an
	// object to find one that stands twice, which for an event of 8 MB of names was
	// measured to be 100 MB. Above kgents.MaxEventBytes, so that an event that is a
	// little too large is named beside the batch's other mistakes.
	maxScanned = 1 << 20
)

// bounded refuses a body whose reading would cost far more memory than the body. It
// looks at quotes and brackets only; whatever else is wrong, the decoder finds.
func bounded(body []byte) error {
	if len(body) <= kgents.MaxEventBytes { // too short for one large event and for too many
		return nil
	}
	events, depth, base, start := 0, 0, 0, 0
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '"':
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			if depth == 0 && body[i] == '[' {
				base = 1
			}
			if depth == base {
				start = i
			}
			depth++
		case ']', '}':
			depth--
			if depth == base && i-start >= maxScanned {
				return tooLarge(events, base == 1, i-start+1)
			}
		case ',':
			if depth == base {
				if events++; events >= MaxEvents {
					return kgents.Errorf(kgents.CodeTooLarge, "the body has more than %d events: send them in several requests", MaxEvents)
				}
			}
		}
	}
	if depth > base && len(body)-start >= maxScanned { // it never ends
		return tooLarge(events, base == 1, len(body)-start)
	}
	return nil
}

func tooLarge(index int, inList bool, size int) error {
	pointer := ""
	if inList {
		pointer = fmt.Sprintf("/%d", index)
	}
	err := kgents.Errorf(kgents.CodeTooLarge, "an event is far too large, and none was taken")
	err.Items = []kgents.Item{{Index: index, Pointer: pointer, Message: fmt.Sprintf("has %d bytes, an event may have %d", size, kgents.MaxEventBytes)}}
	return err
}
