package main

import "encoding/json"

// A tool took its last slug from `slug`; its card stands under `card`, nowhere as long as the site passes over what added it.
type tool struct {
	slug, card string
	tally      tally
}

var naming = map[string]bool{"ToolAdded": true, "ToolRenamed": true, "FormerSlugAdded": true}

// drop notes what the site's cards pass over: the announcement may stand anywhere behind it.
func (c *count) drop(entry []byte) {
	form := open_.FindSubmatch(entry)
	if form == nil || string(form[1]) != "EventDropped" {
		return
	}
	var read said
	if json.Unmarshal(form[3], &read) == nil && read.Projection == "cards" {
		c.dropped[read.Position] = true
	}
}

// catalog takes what is said of a tool; of what the site passes over, its slugs alone.
func (c *count) catalog(position int64, kind string, told said) error {
	if naming[kind] {
		if owner, known := c.owners[told.Slug]; known && owner != told.Tool {
			return wrongf("entry %d: %s leads to another tool, %s", position, told.Slug, owner)
		}
		c.owners[told.Slug] = told.Tool
	}
	of, counts := c.tools[told.Tool], !c.dropped[position]
	switch {
	case kind == "ToolAdded":
		return c.add(position, told, counts)
	case of == nil && (counts || naming[kind]):
		return wrongf("entry %d is of a tool that was never added", position)
	case kind == "ToolDescribed" && counts && told.Slug != "" && told.Slug != of.slug:
		return wrongf("entry %d says that %s has another slug, and that takes a rename", position, of.slug)
	case kind == "ToolRenamed":
		of.slug = told.Slug
		if counts && of.card != "" {
			of.card = told.Slug
		}
	}
	return nil
}

// add takes a tool: a second time only if the site passes over the first.
func (c *count) add(position int64, told said, counts bool) error {
	of := c.tools[told.Tool]
	if of == nil {
		of = &tool{}
		c.tools[told.Tool] = of
	}
	if counts && of.card != "" {
		return wrongf("entry %d adds %s, which was added before", position, of.slug)
	}
	of.slug = told.Slug
	if counts {
		of.card = told.Slug
	}
	return nil
}
