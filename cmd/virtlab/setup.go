package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"virtlab/harness"
	"virtlab/harness/build"
	"virtlab/harness/result"
)

// runSetup installs the packages that are missing and builds the assets.
func runSetup(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("setup", flag.ContinueOnError)
	dry := flags.Bool("n", false, "say what would be done, and do nothing")
	debian := flags.Bool("debian", false, "make the comparison's Debian guest, too: 75 MB of packages, half a minute")
	if err := parseFlags(flags, args, stderr, 0); err != nil {
		return err
	}
	root, err := harness.Root()
	if err != nil {
		return err
	}
	dir, err := build.DefaultDir()
	if err != nil {
		return err
	}
	packages := build.Packages()
	if *debian {
		packages = append(packages, build.DebianImagePackages()...)
	}
	missing := build.Missing(packages)
	if *dry {
		return planSetup(stdout, dir, missing)
	}
	cache, err := build.OpenCache(dir, stderr)
	if err != nil {
		return err
	}
	return setup(ctx, root, cache, missing, *debian, stdout)
}

func setup(ctx context.Context, root string, cache *build.Cache, missing []build.Package, debian bool, stdout io.Writer) error {
	start := time.Now()
	if len(missing) > 0 {
		printMissing(stdout, missing)
		if err := build.NewInstaller(cache).Install(ctx, missing); err != nil {
			return err
		}
	}
	if _, err := build.Setup(ctx, root, cache); err != nil {
		return err
	}
	if debian {
		if _, err := build.DebianImage(ctx, root, cache); err != nil {
			return err
		}
	}
	printUses(stdout, cache, time.Since(start))
	prune(ctx, cache, stdout)
	return nil
}

// prune tidies the cache up after a set-up. A set-up that worked does not fail
// for what cannot be removed.
func prune(ctx context.Context, cache *build.Cache, w io.Writer) {
	p, err := cache.Prune(ctx)
	if what := pruned(p); what != "" {
		fmt.Fprintf(w, "setup: removed %s, %s\n", what, humanSize(p.Bytes))
	}
	if err != nil {
		message, todo := firstLine(err)
		fmt.Fprintln(w, "setup:", message)
		if todo != "" {
			fmt.Fprintln(w, "       what to do:", todo)
		}
	}
}

// pruned names what Prune removed; empty where that is nothing.
func pruned(p build.Pruned) string {
	var what []string
	if p.Results > 0 {
		what = append(what, fmt.Sprintf("%s not used since %s", plural(p.Results, "result"), p.Unused.Format(time.DateOnly)))
	}
	if p.Leftovers > 0 {
		what = append(what, "what "+plural(p.Leftovers, "killed build")+" left")
	}
	return strings.Join(what, " and ")
}

// planSetup is setup's dry run.
func planSetup(w io.Writer, cacheDir string, missing []build.Package) error {
	if len(missing) == 0 {
		fmt.Fprintln(w, "All Debian packages are here.")
	} else {
		printMissing(w, missing)
		fmt.Fprintf(w, "They would be installed, as root, with\n  %s\n", build.InstallCommand(missing))
	}
	_, err := fmt.Fprintf(w, "What the labs boot would be built into %s where it is missing (about %d minutes the first time).\n", cacheDir, build.SetupMinutes)
	return err
}

func printMissing(w io.Writer, missing []build.Package) {
	t := newTable(w)
	t.SetTitle("missing: %s", plural(len(missing), "Debian package"))
	t.AppendHeader(table.Row{"package", "why"})
	for _, p := range missing {
		t.AppendRow(table.Row{p.Name, p.Why})
	}
	t.Render()
}

// printUses is the summary at the end of a set-up. Where all was there already
// one line says so: make labs begins with it each time.
func printUses(w io.Writer, cache *build.Cache, took time.Duration) {
	var built []build.Use
	for _, u := range cache.Uses() {
		if u.Built {
			built = append(built, u)
		}
	}
	if len(built) == 0 {
		fmt.Fprintf(w, "setup: %d assets are in %s, nothing to build\n", len(cache.Uses()), cache.Dir())
		return
	}
	t := newTable(w)
	t.AppendHeader(table.Row{"asset", "", "seconds", "MiB", "in"})
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 3, Align: text.AlignRight}, {Number: 4, Align: text.AlignRight}})
	var total int64
	for _, u := range cache.Uses() {
		size := build.DiskUsage(u.Dir)
		total += size
		t.AppendRow(table.Row{u.Name, origin(u), fmt.Sprintf("%.1f", u.Took.Seconds()), mebibytes(size), filepath.Base(u.Dir)})
	}
	t.AppendFooter(table.Row{"all", "", fmt.Sprintf("%.1f", took.Seconds()), mebibytes(total), cache.Dir()})
	t.Render()
}

func origin(u build.Use) string {
	if u.Built {
		return "built"
	}
	return "cached"
}

func mebibytes(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<20)) }

// humanSize is a number of bytes for people.
func humanSize(bytes int64) string {
	if bytes < 1<<30 {
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}

// newTable is a table in the house's style.
func newTable(w io.Writer) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	style := table.StyleLight
	style.Format.Header, style.Format.Footer = text.FormatDefault, text.FormatDefault
	t.SetStyle(style)
	return t
}

// firstLine is the first line of an error's message and what there is to do
// about it.
func firstLine(err error) (message, todo string) {
	var owned *result.Error
	if errors.As(err, &owned) {
		todo = owned.Hint
		err = owned.Err
	}
	message, _, _ = strings.Cut(err.Error(), "\n")
	return message, todo
}
