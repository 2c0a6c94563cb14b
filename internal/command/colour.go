package command

import (
	"runtime"
	"strings"
)

// The colours of JSON: names of members, strings, and what is neither.
const (
	colourName   = "\x1b[34m"
	colourString = "\x1b[32m"
	colourOther  = "\x1b[33m"
	colourEnd    = "\x1b[0m"
)

// wantsColour reports whether a user wants colours on a terminal: NO_COLOR with any value, as no-color.org has it,
// and a terminal that is "dumb" turn them off, and so does a Windows console that may not know them.
func wantsColour(getenv func(string) string) bool {
	return getenv("NO_COLOR") == "" && getenv("TERM") != "dumb" && (runtime.GOOS != "windows" || getenv("WT_SESSION") != "")
}

// paint colours JSON, which may be clipped; on a terminal without colours it returns the text as it is.
func (t terminal) paint(text string) string {
	if !t.colour {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		token, colour := text[:1], ""
		switch {
		case text[0] == '"':
			token = text[:stringEnd(text)]
			colour = colourString
			if strings.HasPrefix(strings.TrimLeft(text[len(token):], " "), ":") {
				colour = colourName
			}
		case !strings.ContainsRune("{}[],: ", rune(text[0])):
			if end := strings.IndexAny(text, "{}[],: \""); end >= 0 {
				token = text[:end]
			} else {
				token = text
			}
			colour = colourOther
		}
		if colour == "" {
			b.WriteString(token)
		} else {
			b.WriteString(colour + token + colourEnd)
		}
		text = text[len(token):]
	}
	return b.String()
}

// stringEnd is where the string ends that a text begins with; the end of the text where that is clipped.
func stringEnd(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}
