package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"golang.org/x/text/width"
)

// printJSON writes v as indented JSON.
func (c *call) printJSON(v any) error {
	e := json.NewEncoder(c.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printTable writes rows under heads in columns.
func (c *call) printTable(heads []string, rows [][]string) {
	w := tabwriter.NewWriter(c.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(heads, "\t"))
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	w.Flush()
}

// printFitted is printTable for a list whose last column is only to be looked at: on a
// terminal each row takes one line of it. A few very long cells push their own rows to
// the right, not all of them, and the last cell is cut.
func (c *call) printFitted(heads []string, rows [][]string) {
	room := columns(c.out)
	if room == 0 {
		c.printTable(heads, rows)
		return
	}
	w := bufio.NewWriter(c.out)
	defer w.Flush()
	wide := fit(heads, rows, room)
	for _, r := range append([][]string{heads}, rows...) {
		fmt.Fprintln(w, fitRow(r, wide, room))
	}
}

// lastRoom is what fit leaves for the last column, if it can.
const lastRoom = 24

// fit returns the widths of all columns but the last: what their cells need, the widest
// less where the last would have no room.
func fit(heads []string, rows [][]string, room int) []int {
	wide := make([]int, len(heads)-1)
	for _, r := range append([][]string{heads}, rows...) {
		for i := range wide {
			wide[i] = max(wide[i], cells(r[i]))
		}
	}
	left, widest := room-lastRoom, 0
	for i, n := range wide {
		if left -= n + 2; n > wide[widest] {
			widest = i
		}
	}
	if left < 0 {
		wide[widest] = max(wide[widest]+left, cells(heads[widest]))
	}
	return wide
}

func fitRow(row []string, wide []int, room int) string {
	var b strings.Builder
	at, should := 0, 0 // where the line is, and should be
	for i, n := range wide {
		at, should = at+cells(row[i]), should+n
		pad := max(0, should-at)
		b.WriteString(row[i] + strings.Repeat(" ", pad+2))
		at, should = at+pad+2, should+2
	}
	b.WriteString(cut(row[len(wide)], room-at))
	return strings.TrimRight(b.String(), " ")
}

// cut shortens s to so many cells of a terminal.
func cut(s string, room int) string {
	if cells(s) <= room {
		return s
	}
	end, n := 0, 1 // of the ellipsis
	for i, r := range s {
		if n += runeCells(r); n > room {
			break
		}
		end = i + len(string(r))
	}
	if end == 0 {
		return ""
	}
	return strings.TrimRight(s[:end], " ") + "…"
}

func cells(s string) int {
	n := 0
	for _, r := range s {
		n += runeCells(r)
	}
	return n
}

func runeCells(r rune) int {
	switch k := width.LookupRune(r).Kind(); k {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}
