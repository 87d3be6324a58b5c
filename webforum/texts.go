package webforum

import (
	"bufio"
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"
	"time"
)

//go:embed texts
var textFiles embed.FS

// texts are the words of one language: a file of lines "key = text", where %s, %d
// and %[1]s stand for what is filled in. A language is added by adding a file.
type texts struct {
	lang  string // of the file's name, as in the lang attribute
	words map[string]string
	pages pages
}

func loadTexts() (map[string]*texts, error) {
	names, err := fs.Glob(textFiles, "texts/*.txt")
	if err != nil {
		return nil, err
	}
	out := map[string]*texts{}
	for _, n := range names {
		b, err := textFiles.ReadFile(n)
		if err != nil {
			return nil, err
		}
		t := &texts{lang: strings.TrimSuffix(path.Base(n), ".txt"), words: map[string]string{}}
		s := bufio.NewScanner(bytes.NewReader(b))
		for line := 1; s.Scan(); line++ {
			l := strings.TrimSpace(s.Text())
			if l == "" || l[0] == '#' {
				continue
			}
			k, v, ok := strings.Cut(l, " = ")
			if k = strings.TrimSpace(k); !ok || t.words[k] != "" {
				return nil, fmt.Errorf("%s:%d: not of the form \"key = text\", or a key twice", n, line)
			}
			t.words[k] = strings.TrimSpace(v)
		}
		out[t.lang] = t
	}
	return out, nil
}

// T is the text of a key. One that is missing shows its key: a test looks for them.
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

// N is the text for a number: KEY.one or KEY.other.
func (t *texts) N(key string, n int) string {
	key += ".other"
	if n == 1 {
		key = strings.TrimSuffix(key, "other") + "one"
	}
	if s := t.T(key); !strings.Contains(s, "%") {
		return s
	}
	return t.T(key, n)
}

func (t *texts) has(key string) bool { _, ok := t.words[key]; return ok }

// Langs are the languages there are, with their own names, sorted.
func (f *Forum) Langs() [][2]string {
	var out [][2]string
	for l, t := range f.texts {
		out = append(out, [2]string{l, t.T("language.name")})
	}
	sort.Slice(out, func(i, j int) bool { return out[i][0] < out[j][0] })
	return out
}

// language picks the chosen one, else the best of Accept-Language, else English.
func (f *Forum) language(chosen, accept string) *texts {
	if t := f.texts[chosen]; t != nil {
		return t
	}
	best, quality := f.texts["en"], 0.0
	for i, part := range strings.Split(accept, ",") {
		if i > 20 {
			break
		}
		tag, param, _ := strings.Cut(part, ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(param), "q="); ok {
			if n, err := strconv.ParseFloat(v, 64); err == nil {
				q = n
			}
		}
		tag, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		if t := f.texts[tag]; t != nil && q > quality {
			best, quality = t, q
		}
	}
	return best
}

// number writes a number with the language's separator of thousands.
func (t *texts) number(n uint64) string {
	s := strconv.FormatUint(n, 10)
	sep := t.T("number.thousands")
	if sep == "nbsp" {
		sep = "\u202f"
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + sep + s[i:]
	}
	return s
}

// size writes octets for people.
func (t *texts) size(n int64) string {
	units := [...]string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, u := float64(n), 0
	for f >= 1024 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	s := strconv.FormatFloat(f, 'f', 1, 64)
	if u == 0 || f >= 100 {
		s = strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strings.Replace(strings.TrimSuffix(s, ".0"), ".", t.T("number.point"), 1) + "\u00a0" + units[u]
}

// date writes a time: of today the hour, of this year without the year.
func (v *visitor) date(at time.Time) string {
	at, now := at.In(v.Zone), v.now.In(v.Zone)
	y, m, d := at.Date()
	ny, nm, nd := now.Date()
	switch {
	case y == ny && m == nm && d == nd:
		return at.Format("15:04")
	case y == ny:
		return v.tx.T("date.short", d, v.tx.month(m))
	}
	return v.tx.T("date.year", d, v.tx.month(m), y)
}

// moment writes a time in full.
func (v *visitor) moment(at time.Time) string {
	at = at.In(v.Zone)
	y, m, d := at.Date()
	return v.tx.T("date.full", d, v.tx.month(m), y, at.Format("15:04"))
}

func (t *texts) month(m time.Month) string {
	names := strings.Fields(t.T("date.months"))
	if int(m) <= len(names) {
		return names[m-1]
	}
	return m.String()
}
