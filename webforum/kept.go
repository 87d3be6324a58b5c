package webforum

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"strconv"
	"strings"

	"github.com/litfass/litfass/article/content"
)

// keptFile is an attachment of an article that is edited: the new version has it
// too, unless its author takes it off.
type keptFile struct {
	Name, Size, Field string
	Keep              bool

	part *content.Part
}

func (v *visitor) keptFiles(c *content.Content) (out []keptFile) {
	for _, p := range c.Files() {
		if p.Link != "" || len(out) >= maxFiles {
			continue
		}
		k := keptFile{Name: p.Name, Size: v.tx.size(p.Size()), Field: "keepfile." + strconv.Itoa(p.Index), Keep: true, part: p}
		if k.Name == "" {
			k.Name = v.tx.T("file.unnamed", p.Index)
		}
		out = append(out, k)
	}
	return out
}

// keep lists the parts of the old version that the form still wants.
func (d *writeData) keep(fields map[string]string) (out []*content.Part) {
	for _, k := range d.Kept {
		if fields[k.Field] != "" {
			out = append(out, k.part)
		}
	}
	return out
}

// writeKept writes a part of the old version into the new one; what was detached
// stays where it is and is named again (RFC 2017, message/external-body).
func writeKept(w io.Writer, p *content.Part) error {
	disp := mime.FormatMediaType("attachment", map[string]string{"filename": p.Name})
	if p.Name == "" || disp == "" {
		disp = "attachment"
	}
	typ := p.Type
	if strings.HasPrefix(typ, "multipart/") || strings.HasPrefix(typ, "message/") || mime.FormatMediaType(typ, nil) == "" {
		typ = "application/octet-stream"
	}
	d := p.Detached
	if d == nil {
		_, err := fmt.Fprintf(w, "\r\n--%s\r\nContent-Type: %s\r\nContent-Disposition: %s\r\nContent-Transfer-Encoding: base64\r\n\r\n", boundary, typ, disp)
		if err != nil {
			return err
		}
		return content.CopyBase64(w, bytes.NewReader(p.Bytes()))
	}
	sum := ""
	if d.SHA256 != "" {
		sum = "\r\n sha256=" + d.SHA256 + ";"
	}
	_, err := fmt.Fprintf(w, "\r\n--%s\r\nContent-Type: message/external-body; access-type=URL;\r\n size=%d; infohash=%s;%s\r\n URL=\"%s\"\r\n\r\nContent-Type: %s\r\nContent-Disposition: %s\r\n\r\n",
		boundary, d.Size, d.InfoHash, sum, foldURL(d.Magnet), typ, disp)
	return err
}

// foldURL breaks an address into lines of 60 octets; blanks in it do not count (RFC 2017 §3.1).
func foldURL(s string) string {
	s = strings.NewReplacer(`"`, "%22", `\`, "%5C").Replace(s)
	var b strings.Builder
	for len(s) > 60 {
		b.WriteString(s[:60] + "\r\n  ")
		s = s[60:]
	}
	return b.String() + s
}

// detachedBlocks says in the text where detached attachments are, for newsreaders
// that do not know such parts.
func (v *visitor) detachedBlocks(parts []*content.Part) string {
	var detached []*content.Part
	for _, p := range parts {
		if p.Detached != nil {
			detached = append(detached, p)
		}
	}
	var b strings.Builder
	for i, p := range detached {
		d := p.Detached
		fmt.Fprintf(&b, "\r\n-- detached attachment %d of %d --\r\nName:   %s (%s, %d bytes)\r\nGet:    %s%s\r\nMagnet: <%s>\r\n", i+1, len(detached), p.Name, p.Type, d.Size, strings.TrimSuffix(v.URL, "/"), d.Path(), clip(d.Magnet, 900))
		if d.SHA256 != "" {
			fmt.Fprintf(&b, "SHA-256: %s\r\n", d.SHA256)
		}
	}
	return b.String()
}
