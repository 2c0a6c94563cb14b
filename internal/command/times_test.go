package command

import (
	"strings"
	"testing"
	"time"
)

func TestMoment(t *testing.T) {
	now := time.Date(2026, 11, 29, 13, 30, 0, 5, time.FixedZone("", 3600))
	for text, want := range map[string][2]string{ // as the first and as the last instant
		"2026-01-31T12:00:00Z":      {"2026-01-31T12:00:00Z", ""},
		"2026-01-31T12:00:00+02:00": {"2026-01-31T10:00:00Z", ""},
		"2026-01-31":                {"2026-01-31T00:00:00Z", "2026-01-31T23:59:59.999999999Z"},
		"today":                     {"2026-11-29T00:00:00Z", "2026-11-29T23:59:59.999999999Z"},
		"yesterday":                 {"2026-11-28T00:00:00Z", "2026-11-28T23:59:59.999999999Z"},
		"now":                       {"2026-11-29T12:30:00.000000005Z", ""},
		"1h":                        {"2026-11-29T11:30:00.000000005Z", ""},
		"7d":                        {"2026-11-22T12:30:00.000000005Z", ""},
		"1d12h":                     {"2026-11-28T00:30:00.000000005Z", ""},
		"1700000000123456789":       {"2023-11-14T22:13:20.123456789Z", ""},
	} {
		for i, last := range []bool{false, true} {
			if last && want[1] == "" {
				want[1] = want[0]
			}
			got, err := moment(text, now, last)
			if shown := time.Unix(0, got).UTC().Format(time.RFC3339Nano); err != nil || shown != want[i] {
				t.Errorf("%s is %s, %v, want %s", text, shown, err, want[i])
			}
		}
	}
	for _, text := range []string{"", "soon", "-1h", "2026-13-01", "9999-01-01", "12:00", "1w"} {
		if got, err := moment(text, now, false); err == nil {
			t.Errorf("%q is %d, want an error", text, got)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "30m": 30 * time.Minute, "7d": 168 * time.Hour, "0.5d": 12 * time.Hour, "1d30m": 24*time.Hour + 30*time.Minute,
		"0": 0, "1ns": 1, "-1h": -time.Hour,
	} {
		if got, err := duration(text); err != nil || got != want {
			t.Errorf("%s is %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "1", "1dd", "1d-1h", "-1d", "200000d", "NaNd", "infd", "1 d", "soon"} {
		if got, err := duration(text); err == nil {
			t.Errorf("%q is %v, want an error", text, got)
		} else if !strings.Contains(err.Error(), text) {
			t.Errorf("%q: the error does not name it: %v", text, err)
		}
	}
}
