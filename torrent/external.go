package torrent

import (
	"mime"
	"strconv"
	"strings"
)

// Retracker is the tracker's name that every mesh may answer to (spec §6.2); it
// is the one tracker in a signed magnet link.
const Retracker = "http://retracker.local/announce"

// Attachment is one detached attachment of an article (spec §2.2).
type Attachment struct {
	Hash        Infohash
	Sum         Sum // zero: the article does not say; never verified then
	Name        string
	Type        string // media type with its parameters, name left out
	Length      int64
	Disposition string // "attachment" or "inline"
	ContentID   string // with angle brackets
	Magnet      string
}

// NewAttachment describes a file that is here: base is this node's URL as
// readers see it, without a final slash; "" leaves the web seed out.
func NewAttachment(in *Info, sum Sum, base string) Attachment {
	a := Attachment{
		Hash: in.Hash, Sum: sum, Name: in.Name, Length: in.Length,
		Type: "application/octet-stream", Disposition: "attachment",
		ContentID: "<" + sum.String() + "@sha256.invalid>",
	}
	m := Magnet{Hash: in.Hash, Name: in.Name, Length: in.Length, Trackers: []string{Retracker}}
	if base != "" {
		m.WebSeeds = []string{a.URL(base)}
	}
	a.Magnet = m.String()
	return a
}

// URL returns where the node at base serves the file.
func (a Attachment) URL(base string) string {
	return base + "/t/" + a.Hash.String() + "/" + EscapePath(a.Name)
}

// foldAt is how many octets of the magnet link stand in a line; with blanks,
// parameter name and quotes a line keeps below 78 (RFC 5322 §2.1.1).
const foldAt = 60

// appendPart writes the part, header and phantom body (RFC 2046 §5.2.3, RFC
// 2017), without the line end that belongs to the boundary behind it.
func (a Attachment) appendPart(b []byte) []byte {
	b = append(b, "Content-Type: message/external-body; access-type=URL;\r\n size="...)
	b = append(strconv.AppendInt(b, a.Length, 10), "; infohash="+a.Hash.String()+";\r\n"...)
	if !a.Sum.IsZero() {
		b = append(b, " sha256="+a.Sum.String()+";\r\n"...)
	}
	b = append(b, " URL=\""...)
	for i := 0; i < len(a.Magnet); i += foldAt {
		if i > 0 {
			b = append(b, "\r\n  "...)
		}
		b = append(b, a.Magnet[i:min(i+foldAt, len(a.Magnet))]...)
	}
	b = append(b, "\"\r\n\r\nContent-Type: "+a.Type+"\r\n"...)
	b = append(b, "Content-Disposition: "+a.Disposition+"; filename*=UTF-8''"+escape(a.Name)+"; size="...)
	b = strconv.AppendInt(b, a.Length, 10)
	return append(b, "\r\nContent-ID: "+a.ContentID+"\r\n"...)
}

// block is the text for readers that know nothing of detached attachments (spec
// §2.2): the n-th of all. Programs read the part, never this.
func (a Attachment) block(n, all int, base string, ascii bool) string {
	name := a.Name
	if ascii {
		name = escape(name)
	}
	typ, _, _ := strings.Cut(a.Type, ";")
	short := Magnet{Hash: a.Hash, Name: a.Name, Length: a.Length, Trackers: []string{Retracker}}
	return "-- detached attachment " + strconv.Itoa(n) + " of " + strconv.Itoa(all) + " --\r\n" +
		"Name:   " + name + " (" + typ + ", " + strconv.FormatInt(a.Length, 10) + " bytes)\r\n" +
		"Get:    " + a.URL(base) + "\r\n" +
		"Magnet: <" + short.String() + ">\r\n" +
		"SHA-256: " + a.Sum.String() + "\r\n"
}

// ParsePart reads a detached attachment from the Content-Type of a part and the
// part's body, which holds the inner header. ok is false if it is none, or if
// its parameters contradict the magnet link (spec §2.2).
func ParsePart(contentType, body string) (a Attachment, ok bool) {
	typ, p, err := mime.ParseMediaType(unfoldQuoted(contentType))
	if err != nil || typ != "message/external-body" || !strings.EqualFold(p["access-type"], "url") {
		return a, false
	}
	m, err := ParseMagnet(strings.Join(strings.Fields(p["url"]), ""))
	if err != nil {
		return a, false
	}
	size, err := strconv.ParseInt(p["size"], 10, 64)
	if err != nil || size < 0 || size != m.Length || p["infohash"] != m.Hash.String() {
		return a, false
	}
	a = Attachment{Hash: m.Hash, Length: size, Magnet: m.String(), Type: "application/octet-stream", Disposition: "attachment"}
	if s := p["sha256"]; s != "" {
		if a.Sum, err = ParseSum(s); err != nil {
			return a, false
		}
	}
	h := parseMIMEHeader([]byte(body))
	if t, _, err := mime.ParseMediaType(h.get("Content-Type")); err == nil {
		a.Type = t
	}
	name := m.Name
	if d, q, err := mime.ParseMediaType(h.get("Content-Disposition")); err == nil {
		if d == "inline" {
			a.Disposition = d
		}
		if q["filename"] != "" {
			name = q["filename"]
		}
	}
	a.Name = CleanName(name)
	a.ContentID = h.get("Content-Id")
	return a, true
}

// unfoldQuoted joins folded lines; mime.ParseMediaType takes no line ends.
func unfoldQuoted(s string) string {
	return strings.NewReplacer("\r\n", "", "\n", "").Replace(s)
}
