package local

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// find returns the value at p in data, nil if there is none. Data is JSON that
// the decoder has checked, which makes a scan for brackets and quotes enough;
// what is not valid yields nil or a piece of it, never a panic.
func find(data []byte, p path) jsontext.Value {
	for _, name := range p {
		if data = member(data, name); data == nil {
			return nil
		}
	}
	return data
}

// member returns the value of the member name of the object.
func member(object []byte, name string) []byte {
	i := skipSpace(object, 0)
	if i >= len(object) || object[i] != '{' {
		return nil
	}
	for i++; i < len(object); i++ {
		i = skipSpace(object, i)
		if i >= len(object) || object[i] != '"' {
			return nil
		}
		end := skipString(object, i)
		key := object[i:end]
		i = skipSpace(object, end)
		if i >= len(object) || object[i] != ':' {
			return nil
		}
		i = skipSpace(object, i+1)
		end = skipValue(object, i)
		if isName(key, name) {
			return object[i:end]
		}
		i = skipSpace(object, end)
		if i >= len(object) || object[i] != ',' {
			return nil
		}
	}
	return nil
}

func isName(quoted []byte, name string) bool {
	if len(quoted) < 2 {
		return false
	}
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1:len(quoted)-1]) == name
	}
	b, err := jsontext.AppendUnquote(nil, quoted)
	return err == nil && string(b) == name
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString returns the index behind the string that begins at i.
func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// skipValue returns the index behind the value that begins at i.
func skipValue(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = skipString(b, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return len(b)
}
