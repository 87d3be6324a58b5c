// Package content is what a person sees of an article: the MIME tree within
// bounds (RFC 2045 to 2049, 2231), text in UTF-8 whatever it was, quotes, signature
// and patches told apart, HTML made safe, files that stand in the text (uuencode,
// yEnc) and detached attachments.
//
// Nothing here fails: an article that is broken is shown as well as it goes, in
// the worst case as plain text. Nothing is unpacked, nothing is loaded from
// elsewhere. The work is linear in the octets of the article times Limits.Depth.
//
//	c := content.Of(a)
//	for _, b := range c.Blocks() { ... }      // the text as paragraphs, quotes, ...
//	for _, p := range c.Files() { ... }       // attachments
package content
