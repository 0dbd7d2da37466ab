// Where the words of this node's reports stand on the screen, and how they are drawn. OHIF puts a label to the right of
// what it belongs to, even where that is beyond the window, and in plain yellow, which nobody reads on bone. Here the
// label of a region keeps inside the window and clear of others; what has no place stands in a list at the left, which
// zooming does not move, and in a narrow window so does everything. All that is drawn on an image has a dark rim.
const labelPlaces = (() => {
  const TOOL = 'DICOMSRDisplay';
  const LIST = { left: 30, top: 80, bottom: 72, gap: 6 }; // pixels: between what OHIF writes in the corners
  const LABEL_WIDTH = 400;
  const MARGIN = 8;
  const FONT = { family: 'Helvetica Neue, Helvetica, Arial, sans-serif', largest: 14, smallest: 10, leading: 1.2 };
  const PALE = 'rgb(200, 200, 200)';
  const RIM = `
    .svg-layer text { paint-order: stroke; stroke: rgb(0 0 0 / 85%); stroke-width: 4px; stroke-linejoin: round; }
    .svg-layer :is(line, polyline, path, ellipse) { filter: drop-shadow(0 0 1px #000) drop-shadow(0 0 1px #000); }
  `;
  const groups = new WeakMap();
  const changed = new WeakSet();
  let pen;

  document.head.append(Object.assign(document.createElement('style'), { textContent: RIM }));

  // The lines, none wider than `width` pixels, unless one word is.
  function wrapped(lines, width, size) {
    pen ??= document.createElement('canvas').getContext('2d');
    pen.font = `${size}px ${FONT.family}`;
    return lines.flatMap(line => {
      const rows = [''];
      for (const word of line.split(' ')) {
        const longer = `${rows.at(-1)} ${word}`.trimStart();
        if (rows.at(-1) && pen.measureText(longer).width > width) {
          rows.push(word);
        } else {
          rows[rows.length - 1] = longer;
        }
      }
      return rows;
    });
  }

  const isBeside = (group, { clientWidth }) => group.located && clientWidth >= 2 * LABEL_WIDTH;

  // Where a group stands in the list of its image: in the largest letters in which the list fits the window. What does
  // not fit in the smallest is left out, from the end, which an ellipsis shows.
  function inList(group, element) {
    const list = group.onImage.filter(other => !isBeside(other, element));
    const space = element.clientHeight - LIST.top - LIST.bottom;
    for (let size = FONT.largest; ; size--) {
      const blocks = list.map(({ lines }) => wrapped(lines, element.clientWidth - LIST.left - MARGIN, size));
      let end = 0;
      const ends = blocks.map(rows => (end += rows.length * size * FONT.leading + LIST.gap));
      const shown = Math.max(1, ends.filter(each => each <= space).length);
      if (shown === list.length || size === FONT.smallest) {
        const index = list.indexOf(group);
        const more = shown < list.length && index === shown - 1 ? ['...'] : [];
        const place = { rows: [...blocks[index], ...more], corner: [LIST.left, LIST.top + (ends[index - 1] ?? 0)] };
        return index < shown ? { ...place, size, padding: 0 } : undefined;
      }
    }
  }

  // To the right of a region, or to the left of it, or wherever in the window there is room.
  function beside(tools, group, points, element) {
    const rows = wrapped(group.lines, LABEL_WIDTH, FONT.largest);
    const corner = tools.utilities.drawing.getTextBoxCoordsCanvas(points, element, rows);
    return { rows, corner, size: FONT.largest };
  }

  // The tool that draws reports, changed once for all its instances; what is not in `groups` it draws as before.
  function change(tools) {
    const tool = tools.ToolGroupManager.getAllToolGroups()
      .map(toolGroup => toolGroup.getToolInstance(TOOL))
      .find(Boolean);
    const prototype = tool && Object.getPrototypeOf(tool);
    if (!prototype || changed.has(prototype)) {
      return;
    }
    changed.add(prototype);
    const { renderPoint, renderTextBox } = prototype;

    prototype.renderPoint = function (svg, viewport, data, annotationUID, ...more) {
      const labels = tools.annotation.state.getAnnotation(annotationUID)?.data.labels;
      // In this node's reports a point is an anchor that locates nothing: no arrow.
      return groups.has(labels) ? [] : renderPoint.call(this, svg, viewport, data, annotationUID, ...more);
    };

    prototype.renderTextBox = function (svg, viewport, points, adapter, annotation, specifier, options) {
      const group = groups.get(annotation?.data.labels);
      if (!group) {
        return renderTextBox.call(this, svg, viewport, points, adapter, annotation, specifier, options);
      }
      const { element } = viewport;
      const place = isBeside(group, element) ? beside(tools, group, points, element) : inList(group, element);
      if (!place) {
        return;
      }
      const { rows, corner, size, ...padding } = place;
      const style = {
        ...this.getLinkedTextBoxStyle(specifier, annotation),
        color: group.pale ? PALE : options.color,
        fontFamily: FONT.family,
        fontSize: `${size}px`,
        ...padding,
      };
      if (group.located) {
        tools.drawing.drawLinkedTextBox(svg, annotation.annotationUID, '1', rows, corner, points, {}, style);
      } else {
        tools.drawing.drawTextBox(svg, annotation.annotationUID, '1', rows, corner, style);
      }
    };
  }

  return {
    // The labels of a measurement are drawn as `group` says: its `lines`, whether it is `located` by a region, whether
    // it is `pale`; `onImage` are all groups on its image in the order of the report.
    draw(labels, group) {
      change(window.cornerstoneTools);
      groups.set(labels, group);
    },
  };
})();
