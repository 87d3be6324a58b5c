package web

import (
	"embed"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/litfass/litfass/torrent"
)

//go:embed texts
var textFiles embed.FS

// texts are the words of one language, a file of lines "key = text". A language is
// added by adding a file.
type texts struct {
	Lang  string // as in the lang attribute
	words map[string]string
}

// loadTexts reads the files, by language. They are part of the program: a test reads
// them, too.
func loadTexts() (map[string]*texts, error) {
	files, err := textFiles.ReadDir("texts")
	if err != nil {
		return nil, err
	}
	out := map[string]*texts{}
	for _, f := range files {
		b, err := textFiles.ReadFile("texts/" + f.Name())
		if err != nil {
			return nil, err
		}
		t := &texts{Lang: strings.TrimSuffix(f.Name(), ".txt"), words: map[string]string{}}
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, " = "); ok && line[0] != '#' {
				t.words[k] = strings.TrimSpace(v)
			}
		}
		out[t.Lang] = t
	}
	return out, nil
}

// language is the first of ours in an Accept-Language (RFC 9110 §12.5.4), whose writers
// put the best in front; else English.
func (h *Handler) language(accept string) *texts {
	for tag := range strings.SplitSeq(accept[:min(len(accept), 200)], ",") {
		tag, _, _ = strings.Cut(tag, ";")
		tag, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		if t := h.texts[tag]; t != nil {
			return t
		}
	}
	return h.texts["en"]
}

// T is the text of a key; of one that is missing, the key.
func (t *texts) T(key string, args ...any) string {
	s, ok := t.words[key]
	if !ok {
		return key
	}
	if len(args) > 0 {
		return fmt.Sprintf(s, args...)
	}
	return s
}

// Octets is a number of octets for people.
func (t *texts) Octets(n int64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return t.T("bytes", n)
	}
	f, i := float64(n)/(1<<10), 0
	for ; f >= 1000 && i < len(units)-1; i++ {
		f /= 1 << 10
	}
	return strings.Replace(strconv.FormatFloat(f, 'f', 1, 64), ".", t.T("point"), 1) + " " + units[i:i+1] + "iB"
}

// shown is a name, or the last component of a path, as people may see it: without what
// controls a terminal, turns the direction of writing, or means something to a system.
// A browser saves the file under the same name.
func shown(name string) string { return torrent.CleanName(path.Base(name)) }
