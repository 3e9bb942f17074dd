package backup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// message is one of a stream's.
type message struct {
	sequence uint64
	at       time.Time // when the server stored it
	subject  string
	header   nats.Header
	data     []byte
}

// A record is a message in a segment. Numbers are little endian.
//
//	 0  length    4 bytes, of what follows
//	 4  sequence  8 bytes
//	12  time      8 bytes, Unix nanoseconds
//	20  subject   4 bytes of length, then the subject
//	    headers   4 bytes of length, then each name and value with 4 bytes of
//	              length, by name; the values of one name in their order
//	    body      the rest
//
// It has no checksum of its own: the segment has.
const lengthSize = 4

var errRecord = errors.New("a record is not what a backup writes")

// appendRecord adds m's record to b.
func appendRecord(b []byte, m message) ([]byte, error) {
	begin := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, m.sequence)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.at.UnixNano()))
	b = appendContent(b, m)
	n := len(b) - begin
	if n > maxSegment {
		return b[:begin], fmt.Errorf("message %d takes %d bytes, which is more than a segment may have (%d)", m.sequence, n, maxSegment)
	}
	binary.LittleEndian.PutUint32(b[begin:], uint32(n-lengthSize))
	return b, nil
}

// appendContent adds what is the message's own: all but its place and time.
func appendContent(b []byte, m message) []byte {
	b = appendString(b, m.subject)
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	for _, name := range slices.Sorted(maps.Keys(m.header)) {
		for _, value := range m.header[name] {
			b = appendString(appendString(b, name), value)
		}
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return append(b, m.data...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
}

// decodeRecord reads a record without its length. The message keeps b.
func decodeRecord(b []byte) (message, error) {
	if len(b) < 16 {
		return message{}, errRecord
	}
	m := message{
		sequence: binary.LittleEndian.Uint64(b),
		at:       time.Unix(0, int64(binary.LittleEndian.Uint64(b[8:]))).UTC(),
	}
	subject, b, ok := cutString(b[16:])
	if !ok {
		return message{}, errRecord
	}
	headers, b, ok := cutString(b)
	if !ok {
		return message{}, errRecord
	}
	m.subject, m.data = string(subject), b
	for len(headers) > 0 {
		var name, value []byte
		if name, headers, ok = cutString(headers); ok {
			value, headers, ok = cutString(headers)
		}
		if !ok {
			return message{}, errRecord
		}
		if m.header == nil {
			m.header = nats.Header{}
		}
		m.header[string(name)] = append(m.header[string(name)], string(value))
	}
	return m, nil
}

// cutString takes a string with its length from the beginning of b.
func cutString(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if n > int64(len(b)-4) {
		return nil, nil, false
	}
	return b[4 : 4+n], b[4+n:], true
}
