package torrent

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a magnet link.
const (
	magnetMax = 8 << 10 // octets
	urlsMax   = 16      // trackers, web seeds and sources, each
	urlMax    = 1024    // octets of one of them
)

// Magnet is a magnet link of a version 1 torrent.
type Magnet struct {
	Hash     Infohash
	Name     string   // dn
	Length   int64    // xl; -1: not said
	Trackers []string // tr
	WebSeeds []string // ws (BEP 19)
	Sources  []string // xs: where the metainfo is
	Path     string   // x.path: a file or folder inside, for people
	Only     []int    // so (BEP 53): indices of files
}

var (
	errMagnet     = errors.New("no magnet link with an infohash of version 1 (magnet:?xt=urn:btih:...)")
	errMagnetLong = fmt.Errorf("the magnet link is too long: at most %d octets are taken; leave out some of its tr= and ws=", magnetMax)
	errMagnet2    = errors.New("the magnet link is for a torrent of version 2 only (urn:btmh:), which is not taken; make the torrent as version 1")
)

// ParseMagnet reads a magnet link. What it does not know it leaves out; x.pe too:
// addresses of persons' machines are not for us (spec §2.2).
func ParseMagnet(s string) (Magnet, error) {
	m := Magnet{Length: -1}
	scheme, rest, ok := strings.Cut(s, "?")
	if !ok || !strings.EqualFold(scheme, "magnet:") {
		return m, errMagnet
	}
	if len(s) > magnetMax {
		return m, errMagnetLong
	}
	found, missing := false, errMagnet
	for part := range strings.SplitSeq(rest, "&") {
		key, v, _ := strings.Cut(part, "=")
		v, err := url.PathUnescape(strings.ReplaceAll(v, "+", "%20"))
		if err != nil {
			return m, errMagnet
		}
		switch key, _, _ = strings.Cut(strings.ToLower(key), ".1"); key {
		case "xt":
			const urn, urn2 = "urn:btih:", "urn:btmh:" // in any case (RFC 8141 §3.1); BEP 9, BEP 52
			if hasPrefixFold(v, urn2) {
				missing = errMagnet2
			}
			if !hasPrefixFold(v, urn) {
				continue
			}
			hash, err := ParseInfohash(v[len(urn):])
			if err != nil || found && hash != m.Hash {
				return m, errMagnet
			}
			m.Hash, found = hash, true
		case "dn":
			m.Name = v
		case "xl":
			if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
				m.Length = n
			}
		case "tr":
			m.Trackers = addURLs(m.Trackers, v)
		case "ws":
			m.WebSeeds = addURLs(m.WebSeeds, v)
		case "xs":
			m.Sources = addURLs(m.Sources, v)
		case "x.path":
			m.Path = v
		case "so":
			m.Only = parseOnly(v)
		}
	}
	if !found {
		return m, missing
	}
	return m, nil
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// addURLs appends s if it is a URL that we would use and there is room.
func addURLs(list []string, s string) []string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || len(s) > urlMax || len(list) >= urlsMax || slices.Contains(list, s) {
		return list
	}
	switch u.Scheme {
	case "http", "https", "udp":
		return append(list, s)
	}
	return list
}

// parseOnly reads "0,2,4-8".
func parseOnly(s string) []int {
	var out []int
	for part := range strings.SplitSeq(s, ",") {
		lo, hi, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(lo)
		b := a
		if err == nil && isRange {
			b, err = strconv.Atoi(hi)
		}
		if err != nil || a < 0 || b < a || b-a > 10000 || len(out) > 10000 {
			continue
		}
		for i := a; i <= b; i++ {
			out = append(out, i)
		}
	}
	return out
}

// String writes the link in the order of spec §2.2.
func (m Magnet) String() string {
	b := "magnet:?xt=urn:btih:" + m.Hash.String()
	if m.Name != "" {
		b += "&dn=" + escape(m.Name)
	}
	if m.Length >= 0 {
		b += "&xl=" + strconv.FormatInt(m.Length, 10)
	}
	for _, u := range m.Trackers {
		b += "&tr=" + escape(u)
	}
	for _, u := range m.WebSeeds {
		b += "&ws=" + escape(u)
	}
	for _, u := range m.Sources {
		b += "&xs=" + escape(u)
	}
	for i, n := range m.Only {
		b += map[bool]string{true: "&so=", false: ","}[i == 0] + strconv.Itoa(n)
	}
	if m.Path != "" {
		b += "&x.path=" + escape(m.Path)
	}
	return b
}

const upperHex = "0123456789ABCDEF"

// escape percent-encodes all but the unreserved characters of RFC 3986 §2.3.
func escape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
		}
	}
	return b.String()
}

// EscapePath percent-encodes each component of a path inside a torrent.
func EscapePath(path string) string {
	return strings.ReplaceAll(escape(path), "%2F", "/")
}
