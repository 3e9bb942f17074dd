package search

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// token is one word of a question as it is compared.
type token struct {
	text     string // lower case, without 's
	stem     string
	from, to int // where it stands in the question, in bytes
}

// tokens are the words of a text, at most maxTokens. Punctuation ends one, but for what
// joins the parts of a name: the chunk that it stands in is looked at by entities.
func tokens(text string) []token {
	var out []token
	for i := 0; i < len(text) && len(out) < maxTokens; {
		r, n := utf8.DecodeRuneInString(text[i:])
		if !isWord(r) {
			i += n
			continue
		}
		j := i + n
		for j < len(text) {
			r, n := utf8.DecodeRuneInString(text[j:])
			if !isWord(r) && !(r == '\'' || r == '’') {
				break
			}
			j += n
		}
		word := strings.Trim(strings.ToLower(strings.ReplaceAll(text[i:j], "’", "'")), "'")
		for _, w := range apart(word) {
			out = append(out, token{text: w, stem: stem(w), from: i, to: j})
		}
		i = j
	}
	return out
}

// maxTokens bounds the words of a question; MaxQuestion allows not many more.
const maxTokens = 80

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// apart takes short forms apart: isn't is "is not", acme's is "acme".
func apart(w string) []string {
	if long, ok := shortForms[w]; ok {
		return long
	}
	head, tail, ok := strings.Cut(w, "'")
	if !ok {
		return []string{w}
	}
	if long, ok := shortForms[head+tail]; ok {
		return long
	}
	if strings.HasSuffix(w, "n't") {
		return []string{strings.TrimSuffix(w, "n't"), "not"}
	}
	return []string{head}
}

var shortForms = map[string][]string{
	"isnt": {"is", "not"}, "arent": {"are", "not"}, "wasnt": {"was", "not"}, "doesnt": {"does", "not"}, "dont": {"do", "not"},
	"didnt": {"did", "not"}, "cant": {"can", "not"}, "cannot": {"can", "not"}, "wont": {"will", "not"}, "havent": {"have", "not"},
	"hasnt": {"has", "not"}, "couldnt": {"could", "not"}, "whats": {"what", "is"}, "whos": {"who", "is"}, "wheres": {"where", "is"},
	"hows": {"how", "is"}, "whens": {"when", "is"}, "im": {"i", "am"}, "ive": {"i", "have"}, "theyre": {"they", "are"},
	"youre": {"you", "are"}, "whatll": {"what", "will"}, "wholl": {"who", "will"}, "whos'": {"whose"}, "gonna": {"going", "to"},
	"wanna": {"want", "to"}, "gotta": {"must"}, "gimme": {"give", "me"}, "til": {"until"}, "pls": {"please"}, "plz": {"please"},
	"whoami": {"who", "am", "i"}, "wtf": {"what"}, "u": {"you"}, "ur": {"your"}, "btw": {}, "ok": {"okay"},
}

// stem cuts the endings of English words: not their roots, but the same for most forms
// of a word. It is a light one, after Harman's S-stemmer (JASIS 42, 1991) with the
// commonest verbal endings: a heavier one joins words that mean different things here
// (meter, metering and metric; count and counter).
func stem(w string) string {
	if root, ok := irregular[w]; ok {
		w = root
	}
	n := len(w)
	if n < 4 || !ascii(w) {
		return w
	}
	switch {
	case strings.HasSuffix(w, "ies") && n > 4:
		return w[:n-3] + "y"
	case strings.HasSuffix(w, "sses"), strings.HasSuffix(w, "xes"), strings.HasSuffix(w, "ches"), strings.HasSuffix(w, "shes"):
		w = w[:n-2]
	case strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss") && !strings.HasSuffix(w, "us") && !strings.HasSuffix(w, "is"):
		w = w[:n-1]
	}
	n = len(w)
	switch {
	case strings.HasSuffix(w, "ing") && n > 5 && vowel(w[:n-3]):
		w = undouble(w[:n-3])
	case strings.HasSuffix(w, "ied") && n > 4:
		return w[:n-3] + "y"
	case strings.HasSuffix(w, "ed") && n > 4 && vowel(w[:n-2]):
		w = undouble(w[:n-2])
	case strings.HasSuffix(w, "ly") && n > 5:
		w = w[:n-2]
	}
	if n = len(w); n > 4 && w[n-1] == 'e' {
		w = w[:n-1]
	}
	return w
}

// irregular are forms that have not their verb's letters; not those of verbs that say
// little (take, tell, keep): as words of their own they say more.
var irregular = map[string]string{
	"paid": "pay", "payed": "pay", "sent": "send", "lost": "lose", "broke": "break", "broken": "break", "ran": "run", "ate": "eat", "eaten": "eat",
	"spoke": "speak", "spoken": "speak", "bought": "buy", "began": "begin", "begun": "begin", "grew": "grow", "grown": "grow",
	"woke": "wake", "woken": "wake", "fell": "fall", "fallen": "fall", "threw": "throw", "thrown": "throw", "wrote": "write", "written": "write",
	"rang": "ring", "rung": "ring", "rose": "rise", "risen": "rise", "spent": "spend", "hid": "hide", "hidden": "hide",
	"stole": "steal", "stolen": "steal", "froze": "freeze", "frozen": "freeze", "sold": "sell", "met": "meet",
	"shook": "shake", "stuck": "stick", "slept": "sleep", "built": "build", "drew": "draw", "drawn": "draw", "drank": "drink", "chose": "choose", "chosen": "choose",
}

func ascii(w string) bool {
	for i := range len(w) {
		if w[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func vowel(w string) bool { return strings.ContainsAny(w, "aeiouy") }

// undouble makes stop of stopp, but leaves fill and pass.
func undouble(w string) string {
	n := len(w)
	if n > 3 && w[n-1] == w[n-2] && !strings.ContainsRune("lsz", rune(w[n-1])) {
		return w[:n-1]
	}
	return w
}

// stopWords say little of what is meant; how they stand together says what sort of
// question it is, so that they still count in pairs.
var stopWords = set(`a an and are as at be been being but by did do does for from had has have having he her here hers him his
i if in into is it its itself me my of on or our ours out own please she so some such than that the their theirs them then there
these they this those to too us was we were what when where which while who whom whose why will with would you your yours am can
could should may might must shall how about again all any anybody anyone anything also just not now only really very much many
get got give show tell let see look want need like one ones thing things stuff something somebody someone hi hey okay oh yes
lot bit kind sort come came go going went make made take keep still yet even ever every everything up down over off`)

func set(words string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(words) {
		out[w] = true
	}
	return out
}
