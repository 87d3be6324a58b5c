package webforum

import (
	"fmt"
	"html/template"
	"path"
	"regexp"
	"sync"
)

// pages are the templates in one language by name, each made when it is first shown: it
// holds a copy of what all pages share, and all of them together took several MiB of a
// node that nobody visits.
type pages struct {
	mu   sync.Mutex
	base *template.Template // what all share; nil: not read yet
	made map[string]*template.Template
}

// page returns the template of that name.
func (t *texts) page(name string) (*template.Template, error) {
	p := &t.pages
	p.mu.Lock()
	defer p.mu.Unlock()
	if made := p.made[name]; made != nil {
		return made, nil
	}
	made, err := t.makePage(name)
	if err != nil {
		return nil, fmt.Errorf("page %s: %w", name, err)
	}
	p.made[name] = made
	return made, nil
}

// makePage is page with t.pages.mu held.
func (t *texts) makePage(name string) (*template.Template, error) {
	p := &t.pages
	if p.base == nil {
		base, err := t.frame()
		if err != nil {
			return nil, err
		}
		p.base, p.made = base, map[string]*template.Template{}
	}
	made, err := p.base.Clone()
	if err != nil {
		return nil, err
	}
	_, err = t.parse(made, "templates/"+name+".html")
	return made, err
}

// frame reads what all pages share.
func (t *texts) frame() (base *template.Template, err error) {
	base = template.New("base.html").Funcs(template.FuncMap{"magnet": magnet, "dots": dots, "pair": pairOf})
	for _, n := range [...]string{"templates/base.html", "templates/parts.html"} {
		if base, err = t.parse(base, n); err != nil {
			return nil, err
		}
	}
	return base.Lookup("base.html"), nil
}

// parse reads one file of templates into a set, under the file's name.
func (t *texts) parse(set *template.Template, name string) (*template.Template, error) {
	b, err := templateFiles.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return set.New(path.Base(name)).Parse(t.spell(string(b)))
}

var plainText = regexp.MustCompile(`{{(?:\$p?|\.A)?\.T "([a-z0-9.-]+)"}}`)

// spell writes the texts that nothing is filled into straight into a template: looking
// them up each time would be a third of what a page's frame takes.
func (t *texts) spell(source string) string {
	return plainText.ReplaceAllStringFunc(source, func(s string) string {
		key := plainText.FindStringSubmatch(s)[1]
		if !t.has(key) {
			return s
		}
		return template.HTMLEscapeString(t.T(key))
	})
}
