package meter

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

const (
	// maxWords bounds what of a meter's answer goes into an error's text, in bytes.
	maxWords = 1 << 10

	// repeated is the length from which a run of bytes that stands in the answer and
	// in the request is taken for a repetition.
	repeated = 8
)

// words is the beginning of a meter's words without what they repeat of the request
// that was sent, since an error's text goes to the log and a customer's data must
// not. A value of fewer than 8 bytes, or one that the meter has encoded anew, is not
// found.
func words(detail string, sent []byte) string {
	cut := len(detail) > maxWords
	if cut {
		n := maxWords
		for !utf8.RuneStart(detail[n]) {
			n--
		}
		detail = detail[:n]
	}
	said := map[uint64]bool{} // each run of the answer: whether it was sent
	for i := 0; i+repeated <= len(detail); i++ {
		said[binary.LittleEndian.Uint64([]byte(detail[i:i+repeated]))] = false
	}
	for i := 0; len(said) > 0 && i+repeated <= len(sent); i++ {
		run := binary.LittleEndian.Uint64(sent[i:])
		if _, ok := said[run]; ok {
			said[run] = true
		}
	}
	var b strings.Builder
	hidden := 0 // end of what was sent
	for i := range len(detail) {
		if i+repeated <= len(detail) && said[binary.LittleEndian.Uint64([]byte(detail[i:i+repeated]))] {
			if hidden <= i {
				b.WriteString("…")
			}
			hidden = i + repeated
		}
		if i >= hidden {
			b.WriteByte(detail[i])
		}
	}
	if cut {
		b.WriteString("…")
	}
	return strings.ToValidUTF8(b.String(), "")
}
