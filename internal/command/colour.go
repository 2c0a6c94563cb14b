package command

import (
	"runtime"
	"strings"
)

// The colours of JSON: member names, strings, everything else.
const (
	colourName   = "\x1b[34m"
	colourString = "\x1b[32m"
	colourOther  = "\x1b[33m"
	colourEnd    = "\x1b[0m"
)

// wantsColour reports whether the user wants colours on a terminal. NO_COLOR with any value (no-color.org), a "dumb"
// terminal and a Windows console that may not support them turn colours off.
func wantsColour(getenv func(string) string) bool {
	return getenv("NO_COLOR") == "" && getenv("TERM") != "dumb" && (runtime.GOOS != "windows" || getenv("WT_SESSION") != "")
}

// paint colours JSON, which may be clipped. Without colours it returns the text unchanged.
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

// stringEnd returns the end of the string at the start of a text, or the end of the text if the string is clipped.
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
