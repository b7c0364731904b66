"""Feeds, panels and sensors themselves: when they were heard, polls, maintenance, duty checks. What they report is
`signals`' business."""
