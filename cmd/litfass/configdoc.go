package main

import (
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"
)

const hour = time.Hour

// printConfig writes the commented default configuration, made from the struct
// tags of config and from defaults.
func printConfig(w io.Writer) {
	fmt.Fprint(w, "# The configuration of litfass: every key with its default. All are optional; an unknown\n"+
		"# key is an error. Durations: \"90s\", \"24h\", \"30d\"; sizes: \"256KiB\", \"1MiB\"; \"0\" is no limit.\n"+
		"# Relative paths count from this file's folder. SIGHUP or \"litfass config reload\" reads the file again;\n"+
		"# keys with [restart] hold from the next start on.\n\n")
	printSection(w, "", reflect.ValueOf(defaults()), false)
	fmt.Fprint(w, "\n")
	d := peerDefaults()
	d.Name, d.Address = "box8", "127.0.0.1:2119"
	t := reflect.TypeFor[config]()
	f, _ := t.FieldByName("Peer")
	fmt.Fprintf(w, "# [[peer]] %s\n", f.Tag.Get("doc"))
	v := reflect.ValueOf(d)
	for i := range v.NumField() {
		printKey(w, "# ", v.Type().Field(i), v.Field(i), false)
	}
}

// printSection writes the keys of one struct, then its tables.
func printSection(w io.Writer, prefix string, v reflect.Value, restart bool) {
	t := v.Type()
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && !isTable(f.Type) {
			comment := ""
			if f.Tag.Get("example") != "" {
				comment = "# "
			}
			printKey(w, comment, f, v.Field(i), restart)
		}
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() || f.Type.Kind() != reflect.Struct {
			continue
		}
		name := prefix + f.Tag.Get("toml")
		fmt.Fprintf(w, "\n[%s] # %s\n", name, f.Tag.Get("doc"))
		printSection(w, name+".", v.Field(i), restart || f.Tag.Get("reload") == "no")
	}
}

func isTable(t reflect.Type) bool {
	return t.Kind() == reflect.Struct || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct
}

func printKey(w io.Writer, comment string, f reflect.StructField, v reflect.Value, restart bool) {
	value := tomlValue(v)
	if e := f.Tag.Get("example"); e != "" {
		value = strconv.Quote(e)
	}
	doc := f.Tag.Get("doc")
	if restart || f.Tag.Get("reload") == "no" {
		doc += " [restart]"
	}
	fmt.Fprintf(w, "%s%-34s # %s\n", comment, f.Tag.Get("toml")+" = "+value, doc)
}

func tomlValue(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case []string:
		var out []string
		for _, s := range x {
			out = append(out, strconv.Quote(s))
		}
		return "[" + strings.Join(out, ", ") + "]"
	case bool:
		return strconv.FormatBool(x)
	case string:
		return strconv.Quote(x)
	case fmt.Stringer:
		return strconv.Quote(x.String())
	}
	return fmt.Sprint(v.Interface())
}

// checkTags checks what the tags oneof and kind demand of each key.
func checkTags(c *config, say func(key, format string, args ...any)) {
	var walk func(prefix string, v reflect.Value)
	walk = func(prefix string, v reflect.Value) {
		t := v.Type()
		for i := range t.NumField() {
			f, name := t.Field(i), prefix+t.Field(i).Tag.Get("toml")
			if !f.IsExported() {
				continue
			}
			if f.Type.Kind() == reflect.Struct {
				walk(name+".", v.Field(i))
			}
			if words := strings.Fields(f.Tag.Get("oneof")); len(words) > 0 && !contains(words, v.Field(i).String()) {
				say(name, "%q is none of: %s", v.Field(i).String(), strings.Join(words, ", "))
			}
			if f.Tag.Get("kind") == "prefix" {
				for _, s := range v.Field(i).Interface().([]string) {
					if _, err := parsePrefix(s); err != nil {
						say(name, "%v", err)
					}
				}
			}
		}
	}
	walk("", reflect.ValueOf(c).Elem())
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
