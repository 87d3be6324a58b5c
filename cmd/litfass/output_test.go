package main

import (
	"slices"
	"strings"
	"testing"
)

// TestFit: each row takes one line of the terminal, a long name pushes its own row only,
// and nothing but the last cell is cut.
func TestFit(t *testing.T) {
	heads := []string{"GROUP", "FLAG", "DESCRIPTION"}
	long := "alt." + strings.Repeat("x", 60)
	rows := [][]string{{"a.b", "y", "short"}, {"a.c", "y", strings.Repeat("word ", 30)}, {long, "m", "what it is about"}, {"日本.e", "y", "日本語の ニュース グループ です ここに 書いて ください"}, {"a.d", "y", ""}}
	for _, room := range []int{40, 80, 200} {
		wide := fit(heads, rows, room)
		var lines []string
		for _, r := range append([][]string{heads}, rows...) {
			l := fitRow(r, wide, room)
			if cells(l) > max(room, cells(long)+3) || !strings.HasPrefix(l, r[0]+" ") {
				t.Errorf("%d columns: %d cells: %q", room, cells(l), l)
			}
			lines = append(lines, l)
		}
		if at := strings.Index(lines[0], "FLAG"); room < 200 && (at > room-lastRoom || at != strings.Index(lines[1], "y")) {
			t.Errorf("%d columns: the flag stands at %d: %q", room, at, lines)
		}
	}
	if got := fit(heads, rows[:1], 80); !slices.Equal(got, []int{5, 4}) {
		t.Errorf("widths %v", got)
	}
	for s, want := range map[string]string{"abcdef": "abcd…", "abcde": "abcde", "日本語": "日本…", "ab cdef": "ab c…", "": ""} {
		if got := cut(s, 5); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	if got := cut("abc", 1) + cut("abc", -5); got != "" {
		t.Errorf("no room: %q", got)
	}
}
