// What OHIF 3.13.2 does not do when a report is opened by a double click on it.
(() => {
  const REDRAWS = { count: 24, everyMs: 250 };

  const pause = ms => new Promise(done => setTimeout(done, ms));
  const isReport = (services, uid) => services.displaySetService.getDisplaySetByUID(uid)?.Modality === 'SR';

  // A second report in the place of a first one stays on the first one's slice, may keep its text, and fails where
  // it has fewer groups. After a re-run a study has two. So the first is put away before.
  const putAwayBefore =
    ({ activeViewportId, servicesManager: { services } }) =>
    async uid => {
      const shown = services.viewportGridService.getDisplaySetsUIDsForViewport(activeViewportId) ?? [];
      if (isReport(services, uid) && shown.some(other => isReport(services, other))) {
        await services.viewportGridService.setDisplaySetsForViewports([
          { viewportId: activeViewportId, displaySetInstanceUIDs: [] },
        ]);
        // Until what was shown is gone from the page: two frames.
        await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
      }
    };

  // Where the slice is there before it is known what to draw on it, nothing is drawn until the next change.
  const drawAfter =
    ({ activeViewportId, servicesManager: { services } }) =>
    async uid => {
      if (isReport(services, uid)) {
        redraw(services, activeViewportId); // not waited for
      }
    };

  async function redraw(services, viewportId) {
    for (let time = 0; time < REDRAWS.count; time++) {
      await pause(REDRAWS.everyMs);
      const viewport = services.cornerstoneViewportService.getCornerstoneViewport(viewportId);
      if (viewport) {
        window.cornerstoneTools.utilities.triggerAnnotationRenderForViewportIds([viewportId]);
      }
    }
  }

  window.config.customizationService.push({
    'studyBrowser.thumbnailDoubleClickCallback': {
      callbacks: { $unshift: [putAwayBefore], $push: [drawAfter] },
    },
  });
})();
