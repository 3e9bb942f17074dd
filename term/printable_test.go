package term

import "testing"

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"Zoë 東京 👩‍🚀":          "Zoë 東京 👩‍🚀",
		"\x1b[2Jgone\r\n":     "�[2Jgone��",
		"\u009b31m":           "�31m",
		"total \u202e001 eur": "total �001 eur",
		"\u2066a\u2069":       "�a�",
		"a\u2028b\u2029c":     "a�b�c",
		"a\xffb":              "a�b",
	} {
		if got := Printable(text); got != want {
			t.Errorf("%+q is shown as %+q, want %+q", text, got, want)
		}
	}
}
