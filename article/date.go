package article

import (
	"strconv"
	"strings"
	"time"
)

// zones are the names that old articles use; RFC 5322 §4.3 knows those of North
// America. Any other name is read as UTC, as RFC 5322 says of unknown ones.
var zones = map[string]int{ // minutes east
	"EST": -300, "EDT": -240, "CST": -360, "CDT": -300, "MST": -420, "MDT": -360, "PST": -480, "PDT": -420,
	"AST": -240, "ADT": -180, "NST": -210, "NDT": -150, "HST": -600, "AKST": -540, "AKDT": -480,
	"BST": 60, "IST": 60, "WET": 0, "WEST": 60, "MET": 60, "MEZ": 60, "CET": 60, "MEST": 120, "MESZ": 120, "CEST": 120,
	"EET": 120, "EEST": 180, "MSK": 180, "JST": 540, "KST": 540, "AEST": 600, "AEDT": 660, "NZST": 720, "NZDT": 780,
}

// ParseDate reads a Date field, leniently: RFC 5536 §3.1.1, the obsolete forms of
// RFC 5322 §4.3, asctime, RFC 3339, and what old articles hold: no zone (UTC), full
// names of days and months, dashes, zones by name. The day of the week is not looked at.
func ParseDate(s string) (time.Time, error) {
	if len(s) > 128 {
		return time.Time{}, bad("Date", "of %d octets", len(s))
	}
	if iso := strings.TrimSpace(s); len(iso) > 10 && iso[4] == '-' && iso[7] == '-' { // 2006-01-02T15:04:05Z
		if t, err := time.Parse(time.RFC3339, iso); err == nil {
			return t.UTC(), nil
		}
	}
	f := strings.FieldsFunc(dropComments(s), func(r rune) bool { return r == ' ' || r == '\t' || r == ',' || r == '\r' || r == '\n' })
	if len(f) > 0 && month(f[0]) == 0 && alphabetic(f[0]) { // the day of the week
		f = f[1:]
	}
	if len(f) > 0 && strings.Count(f[0], "-") == 2 { // 15-Apr-93
		f = append(strings.Split(f[0], "-"), f[1:]...)
	}
	if len(f) >= 4 && month(f[0]) != 0 { // asctime: Apr 15 11:08:26 [zone] 1993
		f = append([]string{f[1], f[0], f[len(f)-1]}, f[2:len(f)-1]...)
	}
	if len(f) >= 4 && len(f) <= 6 {
		if t, ok := date(f[0], f[1], f[2], f[3], f[4:]); ok {
			return t, nil
		}
	}
	return time.Time{}, bad("Date", "%.60q is no date as RFC 5322 writes it", s)
}

// ProperDate says whether a Date field is one that may be written today, and is read
// everywhere: RFC 5536 §3.1.1, with the zones and short years of RFC 5322 §4.3.
func ProperDate(s string) bool {
	if _, err := ParseDate(s); err != nil {
		return false
	}
	s = strings.TrimSpace(dropComments(s))
	if day, rest, ok := strings.Cut(s, ","); ok {
		if len(day) != 3 || !alphabetic(day) {
			return false
		}
		s = rest
	}
	f := strings.Fields(s) // day, month, year, time, zone: none is missing or in another place
	return len(f) == 5 && f[0][0] <= '9' && len(f[1]) == 3 && f[2][0] <= '9' && strings.Contains(f[3], ":") &&
		(alphabetic(f[4]) || len(f[4]) == 5)
}

func date(day, mon, year, clock string, zone []string) (time.Time, bool) {
	d, ok1 := number(day, 1, 2)
	y, ok2 := number(year, 2, 4)
	h, m, sec, ok3 := clockTime(clock)
	off, ok4 := zoneOffset(zone)
	mo := month(mon)
	if !ok1 || !ok2 || !ok3 || !ok4 || mo == 0 {
		return time.Time{}, false
	}
	switch { // RFC 5322 §4.3
	case len(year) == 2 && y < 50:
		y += 2000
	case len(year) < 4:
		y += 1900
	}
	t := time.Date(y, mo, d, h, m, sec, 0, time.UTC)
	if t.Day() != d {
		return time.Time{}, false
	}
	return t.Add(-time.Duration(off) * time.Minute), true
}

// clockTime reads hh:mm or hh:mm:ss; a leap second counts as the one before.
func clockTime(s string) (h, m, sec int, ok bool) {
	p := strings.Split(s, ":")
	if len(p) != 2 && len(p) != 3 {
		return 0, 0, 0, false
	}
	h, ok1 := number(p[0], 1, 2)
	m, ok2 := number(p[1], 1, 2)
	ok3 := true
	if len(p) == 3 {
		sec, ok3 = number(p[2], 1, 2)
	}
	return h, m, min(sec, 59), ok1 && ok2 && ok3 && h < 24 && m < 60 && sec <= 60
}

func zoneOffset(zone []string) (minutes int, ok bool) {
	for i, z := range zone {
		z = strings.ToUpper(z)
		if len(z) > 3 && (strings.HasPrefix(z, "GMT") || strings.HasPrefix(z, "UTC")) {
			z = z[3:]
		}
		switch {
		case (len(z) == 5 || len(z) == 3) && (z[0] == '+' || z[0] == '-'):
			n, ok := number(z[1:], 2, 4)
			if !ok || i > 0 && zone[0] != "GMT" {
				return 0, false
			}
			if len(z) == 3 { // +02
				n *= 100
			}
			if n%100 > 59 || n/100 > 14 { // nowhere: as if it were not known
				n = 0
			}
			minutes = n/100*60 + n%100
			if z[0] == '-' {
				minutes = -minutes
			}
		case z == "DST" && i == 1:
			minutes += 60
		case alphabetic(z):
			minutes += zones[z]
		default:
			return 0, false
		}
	}
	return minutes, true
}

func month(s string) time.Month {
	if len(s) >= 3 && len(s) <= 10 {
		for m := time.January; m <= time.December; m++ {
			name := m.String()
			if s = strings.TrimSuffix(s, "."); len(s) <= len(name) && strings.EqualFold(s, name[:len(s)]) {
				return m
			}
		}
		if strings.EqualFold(s, "Sept") {
			return time.September
		}
	}
	return 0
}

func number(s string, lo, hi int) (int, bool) {
	if len(s) < lo || len(s) > hi {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

func alphabetic(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i] | 0x20; (c < 'a' || c > 'z') && s[i] != '.' {
			return false
		}
	}
	return s != ""
}

// dropComments cuts out what stands in parentheses: RFC 5322 §3.2.2.
func dropComments(s string) string {
	if !strings.Contains(s, "(") {
		return s
	}
	out, depth := make([]byte, 0, len(s)), 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '(':
			depth++
			out = append(out, ' ')
		case s[i] == ')' && depth > 0:
			depth--
		case depth == 0:
			out = append(out, s[i])
		}
	}
	return string(out)
}
