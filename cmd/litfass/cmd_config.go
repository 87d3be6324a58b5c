package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

func configCommands() []command {
	return []command{
		{name: "print", short: "print the default configuration with comments", run: cmdConfigPrint},
		{name: "check", short: "read the configuration and say what is wrong with it", run: cmdConfigCheck},
		{name: "reload", short: "have the running node read its configuration again, as SIGHUP does", run: cmdConfigReload,
			long: "Says which changed keys hold now and which only at the next start. A file with an error changes nothing."},
	}
}

func cmdConfigPrint(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	printConfig(c.out)
	return nil
}

func cmdConfigCheck(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	cfg, err := loadConfig(c.config, c.data)
	if err != nil {
		return err
	}
	if err := cfg.checkFiles(); err != nil {
		return fmt.Errorf("%s: %w", or(cfg.file, "configuration"), err)
	}
	if cfg.file == "" {
		fmt.Fprintln(c.out, "no configuration file found: the built-in default is used, and is sound")
		return nil
	}
	fmt.Fprintf(c.out, "%s: sound\n", cfg.file)
	return nil
}

// checkFiles says which files that the configuration names cannot be read. A node looks
// when it needs them: they may be put there later, or belong to another user.
func (c *config) checkFiles() error {
	names := map[string]string{
		"nntp.tls.cert": c.NNTP.TLS.Cert, "nntp.tls.key": c.NNTP.TLS.Key, "nntp.tls.acme.ca": c.NNTP.TLS.ACME.CA, "smtp.dkim": c.SMTP.DKIM,
	}
	texts := map[string]string{"smtp.password": c.SMTP.Password, "nntp.motd": c.NNTP.Motd}
	for _, p := range c.Peer {
		texts[fmt.Sprintf("peer %q: password", p.Name)] = p.Password
	}
	for key, s := range texts {
		if path, ok := strings.CutPrefix(s, "file:"); ok {
			names[key] = path
		}
	}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(names)) {
		if names[key] == "" {
			continue
		}
		f, err := os.Open(names[key])
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
			continue
		}
		_ = f.Close()
	}
	return errors.Join(errs...)
}

// version is set by the linker: make build.
var version = ""

func cmdVersion(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	v := versionString()
	if c.json {
		return c.printJSON(map[string]string{"version": v, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
	}
	fmt.Fprintf(c.out, "litfass %s (%s, %s/%s)\n", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// buildTime is a time that no sound clock is before: a day before the commit that
// this program was built from, or before this was written.
func buildTime() time.Time {
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return at
	}
	for _, s := range info.Settings {
		if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil && t.AddDate(0, 0, -1).After(at) {
			at = t.AddDate(0, 0, -1)
		}
	}
	return at
}

func versionString() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
