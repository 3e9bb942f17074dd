package spool

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kgents/kgents/stream"
)

// A record is a header and a payload:
//
//	 0  magic     4 bytes, "KgS1"
//	 4  length    4 bytes, of the payload, little endian
//	 8  time      8 bytes, Unix milliseconds of the append
//	16  checksum  4 bytes, CRC-32C of the payload
//	20  checksum  4 bytes, CRC-32C of the 20 bytes before
//	24  payload   the message's header as one line of JSON, then its body
//
// The header has a checksum of its own so that a flipped bit in the length is
// not taken for a torn tail, which is cut without a word.
const (
	headerSize = 24
	magic      = "KgS1"

	// maxPayload is more than any message of ours has; a longer one is not ours.
	maxPayload = 2 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encode(msg *nats.Msg, now time.Time) ([]byte, error) {
	head, err := json.Marshal(msg.Header)
	if err != nil {
		return nil, err
	}
	payload := len(head) + 1 + len(msg.Data)
	if payload > maxPayload {
		return nil, fmt.Errorf("a message of %d bytes is more than the spool takes (%d)", payload, maxPayload)
	}
	b := make([]byte, headerSize, headerSize+payload)
	b = append(b, head...)
	b = append(b, '\n')
	b = append(b, msg.Data...)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[4:], uint32(payload))
	binary.LittleEndian.PutUint64(b[8:], uint64(now.UnixMilli()))
	binary.LittleEndian.PutUint32(b[16:], crc32.Checksum(b[headerSize:], castagnoli))
	binary.LittleEndian.PutUint32(b[20:], crc32.Checksum(b[:20], castagnoli))
	return b, nil
}

// What decode says of bytes that are no whole, sound record.
var (
	errTorn    = errors.New("the record was not written to its end")
	errCorrupt = errors.New("the record was changed after it was written")
)

// entry is a record that was read.
type entry struct {
	msg    *nats.Msg
	at     time.Time
	events int
	size   int64 // in the segment
}

// decode reads the record at the beginning of b. Torn means that b ends within
// it, or that nothing but zeros follows, as file systems leave them.
func decode(b []byte) (entry, error) {
	if len(b) < headerSize || allZero(b) {
		return entry{}, errTorn
	}
	if string(b[:4]) != magic || crc32.Checksum(b[:20], castagnoli) != binary.LittleEndian.Uint32(b[20:]) {
		return entry{}, errCorrupt
	}
	n := int64(binary.LittleEndian.Uint32(b[4:]))
	if n > maxPayload {
		return entry{}, errCorrupt
	}
	if int64(len(b)) < headerSize+n {
		return entry{}, errTorn
	}
	payload := b[headerSize : headerSize+n]
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(b[16:]) {
		return entry{}, errCorrupt
	}
	head, body, ok := bytes.Cut(payload, []byte{'\n'})
	msg := &nats.Msg{Subject: stream.Subject, Data: bytes.Clone(body)}
	if !ok || json.Unmarshal(head, &msg.Header) != nil {
		return entry{}, errCorrupt
	}
	return entry{
		msg: msg, at: time.UnixMilli(int64(binary.LittleEndian.Uint64(b[8:]))),
		events: stream.ReadEnvelope(msg.Header).Events, size: headerSize + n,
	}, nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
