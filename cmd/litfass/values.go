package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// duration is a time span in the configuration: "90s", "24h", "30d", "1d12h";
// "0" is no limit.
type duration time.Duration

// UnmarshalText reads a duration.
func (d *duration) UnmarshalText(b []byte) error {
	v, err := parseDuration(string(b))
	if err != nil {
		return err
	}
	if v < 0 {
		return fmt.Errorf("%q is negative", b)
	}
	*d = duration(v)
	return nil
}

func (d duration) String() string { return formatDuration(time.Duration(d)) }

// parseDuration is time.ParseDuration that also knows days, "30d" or "1d12h".
func parseDuration(s string) (time.Duration, error) {
	rest, sign := strings.TrimSpace(s), time.Duration(1)
	if strings.HasPrefix(rest, "-") {
		rest, sign = rest[1:], -1
	}
	var days time.Duration
	if n, after, ok := strings.Cut(rest, "d"); ok {
		v, err := strconv.ParseFloat(n, 64)
		if err != nil || v < 0 || v > 100*365 {
			return 0, fmt.Errorf("%q is no duration: write it like 90s, 24h or 30d", s)
		}
		days, rest = time.Duration(v*24*float64(time.Hour)), after
	}
	if rest == "" && days > 0 || rest == "0" {
		return sign * days, nil
	}
	v, err := time.ParseDuration(rest)
	if err != nil || v < 0 {
		return 0, fmt.Errorf("%q is no duration: write it like 90s, 24h or 30d", s)
	}
	return sign * (days + v), nil
}

// formatDuration writes a duration as the configuration does.
func formatDuration(v time.Duration) string {
	day := 24 * time.Hour
	switch {
	case v == 0:
		return "0"
	case v%day == 0 && v > 2*day:
		return strconv.FormatInt(int64(v/day), 10) + "d"
	case v%time.Hour == 0:
		return strconv.FormatInt(int64(v/time.Hour), 10) + "h"
	case v%time.Minute == 0:
		return strconv.FormatInt(int64(v/time.Minute), 10) + "m"
	}
	return v.String()
}

// size is a number of octets in the configuration: "256KiB", "1MiB", "10GiB",
// "500MB", or a plain number; "0" is no limit.
type size int64

var errSize = errors.New("is no size: write it like 256KiB, 1MiB or 10GiB")

// UnmarshalText reads a size.
func (s *size) UnmarshalText(b []byte) error {
	text := strings.TrimSpace(string(b))
	n := strings.TrimRight(text, "KMGTiB")
	unit, ok := map[string]float64{
		"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
		"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	}[text[len(n):]]
	v, err := strconv.ParseFloat(strings.TrimSpace(n), 64)
	if !ok || err != nil || v < 0 || math.IsNaN(v) || v*unit > math.MaxInt64/2 {
		return fmt.Errorf("%q %w", text, errSize)
	}
	*s = size(v * unit)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (s size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s size) String() string {
	for _, u := range []struct {
		name string
		n    size
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if s >= u.n && s%u.n == 0 {
			return strconv.FormatInt(int64(s/u.n), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// human writes a number of octets for people: "1.4 GiB".
func human(n int64) string {
	v, unit := float64(n), "octets"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if v < 1024 {
			break
		}
		v, unit = v/1024, u
	}
	if unit == "octets" {
		return fmt.Sprintf("%d %s", n, unit)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}
