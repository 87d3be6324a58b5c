package torrent

import (
	"bytes"
	"strings"
)

// findAttachments reads the detached attachments of an article from its body and
// the fields of its header, without decoding anything else.
func findAttachments(body []byte, header [][2]string) []Attachment {
	if !bytes.Contains(body, []byte("xternal-body")) {
		return nil
	}
	root, err := walk(bytes.NewReader(body), header)
	if err != nil {
		return nil
	}
	var out []Attachment
	root.leaves(func(n *node) {
		if n.typ != "message/external-body" {
			return
		}
		if a, ok := ParsePart(n.header.get("Content-Type"), strings.Clone(string(body[n.body:n.end]))); ok {
			out = append(out, a)
		}
	})
	return out
}
