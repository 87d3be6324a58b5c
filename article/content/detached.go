package content

import (
	"net/url"
	"strconv"
	"strings"
)

// Detached is an attachment that stands in the article as a magnet link only:
// message/external-body with access-type=URL (RFC 2046 §5.2.3, RFC 2017).
type Detached struct {
	InfoHash string // 40 lower-case hex
	SHA256   string // 64 lower-case hex, or "": unverified for ever
	Size     int64  // octets of the file
	Magnet   string // as the article says it, without blanks
	File     string // the name in the torrent
}

// Path is the address of the file on any node that has it: /t/INFOHASH/NAME.
func (d *Detached) Path() string { return "/t/" + d.InfoHash + "/" + url.PathEscape(d.File) }

// external reads a message/external-body part. If infohash and xt, or size and
// xl, do not agree, it is no detached attachment but an ordinary, empty part.
func (c *Content) external(h header, params map[string]string, body []byte) {
	inner, _ := splitHeader(append(append([]byte(nil), body[:min(len(body), maxHead)]...), '\n', '\n'))
	d := detached(params)
	if link := webLink(params); d == nil && link != "" {
		typ, ip := MediaType(inner.ctype, "application/octet-stream")
		p := c.leaf(inner, typ, ip, nil)
		p.Text, p.Link = false, link
		p.linked, _ = strconv.ParseInt(params["size"], 10, 64)
		return
	}
	if d == nil {
		p := c.leaf(h, "message/external-body", params, body)
		p.Text = false
		return
	}
	inner.disp = strings.TrimSpace(inner.disp)
	typ, ip := MediaType(inner.ctype, "application/octet-stream")
	p := c.leaf(inner, typ, ip, nil)
	p.Text, p.Detached = false, d
	if p.Name == "" {
		p.Name = d.File
	}
}

// webLink is the address of a part that lies elsewhere on the web: what gateways
// make of an entry's enclosure (RFC 2017).
func webLink(params map[string]string) string {
	if !strings.EqualFold(params["access-type"], "url") {
		return ""
	}
	link := strings.Join(strings.Fields(params["url"]), "")
	u, err := url.Parse(link)
	if err != nil || len(link) > 2000 || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return ""
	}
	return u.String()
}

func detached(params map[string]string) *Detached {
	if !strings.EqualFold(params["access-type"], "url") {
		return nil
	}
	magnet := strings.Join(strings.Fields(params["url"]), "")
	if len(magnet) > 8<<10 || len(magnet) < 8 || !strings.EqualFold(magnet[:8], "magnet:?") {
		return nil
	}
	q, err := url.ParseQuery(strings.ReplaceAll(magnet[8:], ";", "%3B"))
	if err != nil {
		return nil
	}
	size, err := strconv.ParseInt(params["size"], 10, 64)
	if err != nil || size < 0 || q.Get("xl") != strconv.FormatInt(size, 10) {
		return nil
	}
	hash := params["infohash"]
	if !hexOf(hash, 40) || !hasTopic(q["xt"], hash) {
		return nil
	}
	sum := params["sha256"]
	if !hexOf(sum, 64) {
		sum = ""
	}
	return &Detached{InfoHash: hash, SHA256: sum, Size: size, Magnet: magnet, File: CleanName(q.Get("dn"))}
}

func hasTopic(xt []string, hash string) bool {
	for _, x := range xt {
		if strings.EqualFold(x, "urn:btih:"+hash) {
			return true
		}
	}
	return false
}

func hexOf(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := 0; i < n; i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// dropBlocks takes the "-- detached attachment 1 of 1 --" blocks out of a text
// whose part with that infohash exists: they are for readers that do not know parts.
func (c *Content) dropBlocks(text string) string {
	const begin = "-- detached attachment "
	if !strings.Contains(text, begin) {
		return text
	}
	lines := strings.Split(text, "\n")
	out := lines[:0]
	for i := 0; i < len(lines); i++ {
		if strings.HasPrefix(lines[i], begin) {
			if n := c.block(lines[i+1:]); n > 0 {
				i += n
				continue
			}
		}
		out = append(out, lines[i])
	}
	return strings.TrimRight(strings.Join(out, "\n"), "\n") + "\n"
}

// block returns the number of lines of a text block that speaks of a part of c.
func (c *Content) block(lines []string) int {
	n, known := 0, false
	for n < len(lines) && n < 12 {
		name, _, ok := strings.Cut(lines[n], ":")
		if !ok || name != "Name" && name != "Get" && name != "Magnet" && name != "SHA-256" {
			break
		}
		for _, p := range c.Parts {
			known = known || p.Detached != nil && strings.Contains(lines[n], p.Detached.InfoHash)
		}
		n++
	}
	if !known {
		return 0
	}
	return n
}
