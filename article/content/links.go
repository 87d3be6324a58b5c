package content

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Links and pictures of pages that come through a gateway.

const maxLinks = 50

// pictureType is what a link to a picture says of its target. A door that fetches
// pictures for its readers knows them by it; for every other reader it is a link.
var pictureType = regexp.MustCompile(`^image/(png|jpeg|gif|webp|avif|svg\+xml|x-any)$`)

// address is where a reference leads, "" if not to the web or a mailbox.
func (w *safeWriter) address(ref string) string {
	u, err := url.Parse(strings.TrimSpace(ref))
	if err != nil || u.Opaque != "" && u.Scheme != "mailto" {
		return ""
	}
	if u.Scheme == "" && w.base != nil {
		u = w.base.ResolveReference(u)
	}
	if (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		return u.String()
	}
	return ""
}

// note returns the number of a link in the text, 0 if there are too many.
func (w *safeWriter) note(address string) int {
	if i := slices.Index(w.links, address); i >= 0 {
		return i + 1
	}
	if len(w.links) >= maxLinks {
		return 0
	}
	w.links = append(w.links, address)
	return len(w.links)
}

// follow resolves where a link leads, and notes it. References within the page, or to
// it, lead nowhere.
func (w *safeWriter) follow(attrs []html.Attribute) {
	w.inLink = 0
	for i := range attrs {
		if attrs[i].Key != "href" {
			continue
		}
		if ref := strings.TrimSpace(attrs[i].Val); strings.HasPrefix(ref, "#") || ref == "" {
			attrs[i].Val = ""
		} else if to := w.address(ref); to != "" {
			attrs[i].Val = to
			w.inLink = w.note(to)
		}
	}
}

// endLink tells the text which link ended, and writes the pictures that were in it.
func (w *safeWriter) endLink() {
	w.mark(w.inLink)
	w.inLink = 0
	w.out.WriteString(w.waiting)
	w.waiting = ""
}

func (w *safeWriter) mark(n int) {
	if n > 0 {
		w.said.WriteString(" [" + strconv.Itoa(n) + "]")
	}
}

// picture writes a link to a picture, or its alternative text if it cannot be had.
func (w *safeWriter) picture(attrs []html.Attribute) {
	at := map[string]string{}
	for _, a := range attrs {
		at[a.Key] = a.Val
	}
	if dot(at["width"]) || dot(at["height"]) {
		return
	}
	alt, to := strings.Join(strings.Fields(clean(at["alt"])), " "), w.address(at["src"])
	if to == "" {
		w.out.WriteString(html.EscapeString(alt))
		w.said.WriteString(alt)
		return
	}
	if alt == "" {
		alt = pictureName(to)
	}
	w.said.WriteString(alt)
	w.mark(w.note(to))
	link := policy().Sanitize(`<a href="`+html.EscapeString(to)+`" type="`+pictureKind(to)+`">`) + html.EscapeString(alt) + "</a>"
	if slices.Contains(w.open, atom.A) {
		w.out.WriteString(html.EscapeString(alt))
		w.waiting += " " + link
		return
	}
	w.out.WriteString(link)
}

// dot: a picture that is as wide or high as a dot only counts who looks.
func dot(size string) bool { return size == "0" || size == "1" || size == "0px" || size == "1px" }

func pictureName(address string) string {
	if u, err := url.Parse(address); err == nil {
		if name := clean(path.Base(u.Path)); name != "." && name != "/" && len(name) < 80 {
			return name
		}
	}
	return "picture"
}

func pictureKind(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "image/x-any"
	}
	switch strings.ToLower(path.Ext(u.Path)) {
	case ".png":
		return "image/png"
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".gif":
		return "image/gif"
	case ".webp":
		return "image/webp"
	case ".avif":
		return "image/avif"
	case ".svg":
		return "image/svg+xml"
	}
	return "image/x-any"
}

// pictureLink is a link to a picture as picture writes it, and the policy leaves it.
var pictureLink = regexp.MustCompile(`<a href="([^"<>]*)" type="image/[a-z+-]+" rel="nofollow noreferrer">([^<>]*)</a>`)

// ShowPictures shows the pictures to which links in safe HTML lead, if where says where
// this node has them.
func ShowPictures(safe string, where func(address string) string) string {
	return pictureLink.ReplaceAllStringFunc(safe, func(link string) string {
		m := pictureLink.FindStringSubmatch(link)
		src := where(html.UnescapeString(m[1]))
		if src == "" {
			return link
		}
		return `<a href="` + m[1] + `" rel="nofollow noreferrer"><img src="` + html.EscapeString(src) + `" alt="` + m[2] + `" loading="lazy"></a>`
	})
}
