package main

import (
	"fmt"
	"math"
)

// row is one line of the output.
type row struct {
	Name string  `json:"name"`
	Unit string  `json:"unit"`
	Ours float64 `json:"ours"`
	// Baseline and Ratio, ours divided by it, are zero if there is nothing to compare.
	Baseline float64 `json:"baseline,omitempty"`
	Ratio    float64 `json:"ratio,omitempty"`
	Goal     *goal   `json:"goal,omitempty"`
	// Met is nil without a goal.
	Met *bool `json:"met,omitempty"`
}

// goal is a limit on a row's ratio, or on its own figure.
type goal struct {
	Of    string  `json:"of"`    // "ratio" or "ours"
	Bound string  `json:"bound"` // "<=" or ">="
	Value float64 `json:"value"`
}

func ratioAtMost(value float64) *goal  { return &goal{"ratio", "<=", value} }
func ratioAtLeast(value float64) *goal { return &goal{"ratio", ">=", value} }
func oursAtMost(value float64) *goal   { return &goal{"ours", "<=", value} }
func oursAtLeast(value float64) *goal  { return &goal{"ours", ">=", value} }

func (g *goal) String() string {
	if g == nil {
		return ""
	}
	return fmt.Sprintf("%s %s %g", g.Of, g.Bound, g.Value)
}

// judged returns the row with its verdict.
func (r row) judged() row {
	if r.Goal == nil {
		return r
	}
	value := r.Ours
	if r.Goal.Of == "ratio" {
		value = r.Ratio
	}
	met := value <= r.Goal.Value
	if r.Goal.Bound == ">=" {
		met = value >= r.Goal.Value
	}
	r.Met = &met
	return r
}

func (r row) verdict() string {
	switch {
	case r.Met == nil:
		return ""
	case *r.Met:
		return "yes"
	default:
		return "NO"
	}
}

// figure formats a number with its significant digits; empty for 0 of something that was not measured.
func figure(value float64, unit string) string {
	if unit != "" {
		unit = " " + unit
	}
	switch size := math.Abs(value); {
	case size == 0:
		return "-"
	case size >= 1000:
		return fmt.Sprintf("%.0f%s", value, unit)
	case size >= 10:
		return fmt.Sprintf("%.1f%s", value, unit)
	default:
		return fmt.Sprintf("%.2f%s", value, unit)
	}
}
